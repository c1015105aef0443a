"""`make observe` with a real stack: who is scraped, what it says, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from ops import observe
from tests.e2e.stack import DEADLINE_S, Stack, environ, wait_until
from tests.e2e.test_dashboards import need_prometheus

PORTS: Final = ("--prometheus-port", "0", "--grafana-port", "0", "--interval", "1")

QUICK: Final = ("--grace-ms", "1000", "--lease-ms", "2000")
"""Goes on to `orch up`."""


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return json.loads(answer.read())


def lines_about(home: Path) -> list[str]:
    """The command line of every living process that names this home, wherever it was started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found.append(" ".join(map(os.fsdecode, words)))
    return [line for line in found if str(home) in line]


class Observed:
    """A running `make observe`."""

    def __init__(self, home: Path, log: Path, *words: str, path: str | None = None) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops.observe", "--home", str(home), *PORTS, *words],
                cwd=observe.ROOT,
                env={**environ(), **({"PATH": path} if path else {})},
                stdout=output,
                stderr=output,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def is_there(self) -> bool:
        assert self.process.poll() is None, self.said
        return "Ctrl-C" in self.said

    def url(self, name: str) -> str:
        (line,) = (line for line in self.said.splitlines() if line.startswith(name))
        return line.split()[1]

    def targets(self) -> dict[str, str]:
        """Part -> health."""
        found = asked(f"{self.url('Prometheus')}/api/v1/targets")["data"]["activeTargets"]
        return {one["labels"]["instance"]: one["health"] for one in found}

    def ended(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


@contextmanager
def observed(home: Path, log: Path, *words: str, path: str | None = None) -> Iterator[Observed]:
    running = Observed(home, log, *words, path=path)
    try:
        wait_until(running.is_there, what="it says where to look")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.wait(DEADLINE_S)


@pytest.fixture
def without_prometheus(tmp_path: Path) -> str:
    """A PATH on which everything is but Prometheus and Grafana."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for tool in Path(place).glob("*"):
            link = folder / tool.name
            link.unlink(missing_ok=True)
            if tool.name not in {observe.PROMETHEUS, *observe.GRAFANA}:
                link.symlink_to(tool)
    return str(folder)


@pytest.mark.req("MET-4")
def test_every_part_of_a_running_stack_is_scraped_and_found_again_after_its_death(
    stack: Stack, tmp_path: Path
) -> None:
    need_prometheus()
    with observed(stack.home, tmp_path / "said") as running:
        parts = set(stack.endpoint()["metrics"])
        assert len(parts) == 7
        wait_until(lambda: running.targets() == dict.fromkeys(parts, "up"), what="all are scraped")
        before = stack.endpoint()["metrics"]["scheduler-1"]
        stack.kill("scheduler")
        wait_until(lambda: stack.endpoint()["metrics"].get("scheduler-1", before) != before)
        place = stack.endpoint()["metrics"]["scheduler-1"]

        def is_scraped() -> bool:
            found = asked(f"{running.url('Prometheus')}/api/v1/targets")["data"]["activeTargets"]
            return {one["health"] for one in found if one["scrapeUrl"] == place} == {"up"}

        wait_until(is_scraped, what="it is scraped on its new port")
        assert any("prometheus" in line for line in lines_about(stack.home))
        if not any(shutil.which(name) for name in observe.GRAFANA):
            assert "ops/grafana/dashboards" in running.said
        assert running.ended(signal.SIGINT) == 0
        assert "asked to end" in running.said
    wait_until(stack.answers, what="the stack that ran before goes on")
    assert not any("prometheus" in line for line in lines_about(stack.home))


@pytest.mark.req("MET-4")
def test_a_stack_that_it_started_ends_with_it(tmp_path: Path) -> None:
    need_prometheus()
    home = tmp_path / "home"
    with observed(home, tmp_path / "said", *QUICK) as running:
        assert (home / "endpoint.json").exists()
        started = lines_about(home)
        (supervisor,) = (line for line in started if " up " in line)
        assert "grace_ms=1000" in supervisor
        assert "lease_ms=2000" in supervisor
        assert any("prometheus" in line for line in started)
        assert running.ended(signal.SIGTERM) == 0
    assert not (home / "endpoint.json").exists()
    wait_until(lambda: not lines_about(home), what="nothing is left")


@pytest.mark.req("MET-4")
def test_it_ends_when_the_stack_does_and_says_what_to_install_without_prometheus(
    tmp_path: Path, without_prometheus: str
) -> None:
    home = tmp_path / "home"
    with observed(home, tmp_path / "said", *QUICK, path=without_prometheus) as running:
        assert "Prometheus is not installed: get `prometheus`" in running.said
        urls = json.loads((home / "endpoint.json").read_bytes())["metrics"].values()
        assert all(url in running.said for url in urls)
        down = [sys.executable, "-m", "orch.cli.main", "down", "--home", str(home)]
        subprocess.run(down, cwd=observe.ROOT, env=environ(), check=True, capture_output=True)
        assert running.ended() == 0
        assert "the stack has ended" in running.said
    wait_until(lambda: not lines_about(home), what="nothing is left")


@pytest.mark.req("MET-4")
def test_what_cannot_start_is_one_line_and_exit_1(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "home").write_text("a file")
    code = observe.observe(["--home", str(tmp_path / "home")], threading.Event(), said.append)
    assert (code, said) == (1, ["make observe: the stack did not start"])


@pytest.mark.req("MET-4")
@pytest.mark.parametrize("metrics", [None, {}, {"reaper-1": "nonsense"}])
def test_an_endpoint_without_addresses_is_refused(metrics: object) -> None:
    with pytest.raises(observe.CannotObserve):
        observe.targets_of({"metrics": metrics})


@pytest.mark.req("MET-4")
def test_rules_are_loaded_where_there_are_some() -> None:
    assert "rule_files" not in observe.config_of(interval_s=5, rules=None)
    with_rules = observe.config_of(interval_s=5, rules=Path("/x/rules.yaml"))
    assert 'rule_files: ["/x/rules.yaml"]' in with_rules


GRAFANA: Final = """#!{python}
import http.server, json, os, sys
class Said(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([sys.argv[1:], dict(os.environ)]).encode())
place = os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])
http.server.HTTPServer(place, Said).serve_forever()
"""


@pytest.mark.req("MET-4")
def test_grafana_is_told_where_the_numbers_and_the_dashboards_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "grafana"
    program.parent.mkdir()
    program.write_text(GRAFANA.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    folder = tmp_path / "grafana"
    with observe.grafana(folder, "http://127.0.0.1:9090") as running:
        words, told = asked(running.url)
        assert words[0] == "server"
        assert told["GF_PATHS_PROVISIONING"] == str(folder / "provisioning")
        where = folder / "provisioning"
        (source,) = json.loads((where / "datasources/prometheus.yaml").read_text())["datasources"]
        assert source["url"] == "http://127.0.0.1:9090"
        (provider,) = json.loads((where / "dashboards/orch.yaml").read_text())["providers"]
        found = Path(provider["options"]["path"])
        assert len(list(found.glob("*.json"))) == 5
    assert running.process.poll() is not None
