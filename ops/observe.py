"""`make observe`: a local stack, watched by a real Prometheus, and by Grafana where that is installed.

It starts the stack of a home unless it runs, and asks every process of it for its numbers; which they
are is looked up again and again, so that a part that was started anew is found on its new port. It ends
on Ctrl-C, or when the stack does (`make down`). A stack that it started ends with it; one that ran before
goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

from ops.files import write_atomically
from orch.cli.stack import Running, running_in, tail, wait_until
from orch.lint.queries import DASHBOARDS, RULES
from orch.settings import home_path

ROOT: Final = Path(__file__).resolve().parents[1]
PROMETHEUS: Final = "prometheus"
GRAFANA: Final = ("grafana-server", "grafana")
GRAFANA_HOMES: Final = (Path("/usr/share/grafana"), Path("/opt/grafana"))
SCRAPE_S: Final = 5
PORT: Final = 9090
GRAFANA_PORT: Final = 3000
LOOK_S: Final = 1.0
"""How often the stack is looked at."""
START_MS: Final = 30_000
END_S: Final = 15.0
_LOOPBACK: Final = "127.0.0.1"
_CONFIG: Final = """\
# Written by `make observe` for the stack of this home; targets.json follows its processes.
global:
  scrape_interval: {interval}s
  evaluation_interval: {interval}s
{rules}scrape_configs:
  - job_name: orch
    file_sd_configs:
      - files: [targets.json]
        refresh_interval: {interval}s
"""


class CannotObserve(Exception):
    """What was asked for cannot be started; the message says why."""


# ---------------------------------------------------------------- what Prometheus is told


def config_of(*, interval_s: int, rules: Path | None) -> str:
    """prometheus.yaml, with rules where there are some."""
    said = f"rule_files: [{json.dumps(str(rules))}]\n" if rules else ""
    return _CONFIG.format(interval=interval_s, rules=said)


def targets_of(endpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each part of endpoint.json as one target. It is called by its name, which outlives its port.

    Raises:
        CannotObserve: endpoint.json names no metrics, or something that is no address.
    """
    found = endpoint.get("metrics")
    if not isinstance(found, dict) or not found:
        raise CannotObserve("endpoint.json names no metrics: the stack is of another version")
    places = {str(part): urlsplit(str(url)).netloc for part, url in sorted(found.items())}
    odd = [part for part, place in places.items() if not place]
    if odd:
        raise CannotObserve(f"endpoint.json has no address for {', '.join(odd)}")
    return [{"targets": [place], "labels": {"instance": part}} for part, place in places.items()]


# ---------------------------------------------------------------- programs


@dataclass(frozen=True)
class Program:
    """A server of ours that runs."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def prometheus(
    folder: Path,
    endpoint: Mapping[str, Any],
    *,
    port: int = 0,
    interval_s: int = SCRAPE_S,
    root: Path = ROOT,
) -> Iterator[Program]:
    """A Prometheus on loopback that scrapes the stack, ready; its files are in `folder`. Port 0 is any free.

    Raises:
        CannotObserve: it is not installed, or ends before it is ready.
    """
    found = shutil.which(PROMETHEUS)
    if found is None:
        raise CannotObserve("prometheus is not installed")
    rules = root / RULES
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "prometheus.yaml"
    tell_targets(folder, endpoint)
    write_atomically(
        config, config_of(interval_s=interval_s, rules=rules if rules.is_file() else None)
    )
    place = f"{_LOOPBACK}:{_free(port)}"
    argv = [
        found,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=2d",
        "--enable-feature=exemplar-storage",
        f"--web.listen-address={place}",
    ]
    with _running("Prometheus", argv, f"http://{place}", "/-/ready", folder) as program:
        yield program


def tell_targets(folder: Path, endpoint: Mapping[str, Any]) -> None:
    """Prometheus reads the file again by itself when it has changed.

    Raises:
        CannotObserve: see `targets_of`.
    """
    write_atomically(folder / "targets.json", json.dumps(targets_of(endpoint), indent=2) + "\n")


@contextmanager
def grafana(
    folder: Path, prometheus_url: str, *, port: int = 0, root: Path = ROOT
) -> Iterator[Program]:
    """A Grafana on loopback with our dashboards and that Prometheus; anybody on this machine may look.

    Raises:
        CannotObserve: it is not installed, or ends before it is ready.
    """
    argv = _grafana_argv()
    if argv is None:
        raise CannotObserve("grafana-server is not installed")
    for path, document in provisioning(prometheus_url, root / DASHBOARDS).items():
        # JSON is YAML.
        write_atomically(folder / "provisioning" / path, json.dumps(document, indent=2) + "\n")
    free = _free(port)
    environ = {
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_PATHS_DATA": str(folder / "data"),
        "GF_PATHS_LOGS": str(folder / "log"),
        "GF_PATHS_PLUGINS": str(folder / "plugins"),
        "GF_SERVER_HTTP_ADDR": _LOOPBACK,
        "GF_SERVER_HTTP_PORT": str(free),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }
    url = f"http://{_LOOPBACK}:{free}"
    with _running("Grafana", argv, url, "/api/health", folder, environ) as program:
        yield program


def provisioning(prometheus_url: str, dashboards: Path) -> dict[str, dict[str, Any]]:
    """Path -> document: where the numbers come from, and which dashboards there are."""
    source: dict[str, Any] = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "isDefault": True,
        "jsonData": {"timeInterval": f"{SCRAPE_S}s"},
    }
    where = {"path": str(dashboards)}
    provider = {"name": "orch", "folder": "Orch", "type": "file", "options": where}
    return {
        "datasources/prometheus.yaml": {"apiVersion": 1, "datasources": [source]},
        "dashboards/orch.yaml": {"apiVersion": 1, "providers": [provider]},
    }  # fmt: skip


def _grafana_argv() -> list[str] | None:
    for name in GRAFANA:
        found = shutil.which(name)
        if found is not None:
            homes = [home for home in GRAFANA_HOMES if home.is_dir()]
            where = ["--homepath", str(homes[0])] if homes else []
            return [found, *(["server"] if name == "grafana" else []), *where]
    return None


@contextmanager
def _running(
    name: str, argv: Sequence[str], url: str, ready: str, folder: Path, extra: Mapping[str, str] | None = None
) -> Iterator[Program]:  # fmt: skip
    """Started and ready; ended by SIGTERM when we leave, and killed when that takes too long."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder / f"{name.lower()}.log"
    environ = None if extra is None else {**os.environ, **extra}
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or _answers(url + ready), START_MS)
        if process.poll() is not None or not _answers(url + ready):
            raise CannotObserve(f"{name} did not become ready; its last words:\n{tail(log)}")
        yield Program(name, url, process, log)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def _free(wanted: int) -> int:
    """That port of loopback, or any free one when somebody has it."""
    for port in (wanted, 0):
        with suppress(OSError), socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((_LOOPBACK, port))
            return int(one.getsockname()[1])
    raise CannotObserve("no port of loopback is free")


# ---------------------------------------------------------------- the stack


@contextmanager
def stack_of(home: Path, words: Sequence[str] = ()) -> Iterator[Running]:
    """The stack of this home; started, and then ended again, unless it runs.

    Raises:
        CannotObserve: it cannot be started; `orch up` has said why.
    """
    before = running_in(home)
    if before is None and _orch("up", "--detach", "--wait", "--home", str(home), *words) != 0:
        raise CannotObserve("the stack did not start")
    try:
        running = running_in(home)
        if running is None:
            raise CannotObserve(f"the stack of {home} is gone already")
        yield running
    finally:
        if before is None and running_in(home) is not None:
            _orch("down", "--home", str(home))


def _orch(*words: str) -> int:
    """Its own session: Ctrl-C must not end half of it."""
    argv = [sys.executable, "-m", "orch.cli.main", *words]
    return subprocess.run(
        argv, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, check=False
    ).returncode


def watch(home: Path, folder: Path, programs: Sequence[Program], is_over: threading.Event) -> str:
    """Follows the stack's processes until somebody ends one of the three; says who."""
    while not is_over.wait(LOOK_S):
        running = running_in(home)
        if running is None:
            return "the stack has ended"
        with suppress(CannotObserve):  # it is being written anew: the old targets stand
            if programs:
                tell_targets(folder, running.document)
        for one in programs:
            if one.process.poll() is not None:
                return f"{one.name} has ended; its last words:\n{tail(one.log)}"
    return "asked to end"


# ---------------------------------------------------------------- the program


def arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Ours, and what goes on to `orch up`."""
    parser = argparse.ArgumentParser(prog="make observe", allow_abbrev=False)
    parser.add_argument("--home", type=Path, help="the stack's home; default ORCH_HOME")
    parser.add_argument("--prometheus-port", type=int, default=PORT)
    parser.add_argument("--grafana-port", type=int, default=GRAFANA_PORT)
    parser.add_argument("--interval", type=int, default=SCRAPE_S, help="seconds between scrapes")
    return parser.parse_known_args(argv)


def observe(argv: Sequence[str], is_over: threading.Event, say: Callable[[str], None]) -> int:
    """Until `is_over` is set, or the stack ends. 0; 1 when something could not start."""
    ours, words = arguments(argv)
    home = home_path(ours.home).resolve()
    folder = home / "observe"
    try:
        with ExitStack() as opened:
            running = opened.enter_context(stack_of(home, words))
            say(f"stack        {running.url}  (home {home})")
            programs = []
            if shutil.which(PROMETHEUS) is None:
                _without_prometheus(running, say)
            else:
                watching = prometheus(
                    folder, running.document, port=ours.prometheus_port, interval_s=ours.interval
                )
                programs.append(opened.enter_context(watching))
                say(f"Prometheus   {programs[0].url}  (asks every {ours.interval} s)")
                programs += _with_grafana(opened, folder, programs[0], ours.grafana_port, say)
            say("Ctrl-C or `make down` ends it.")
            say(watch(home, folder, programs, is_over))
    except CannotObserve as error:
        say(f"make observe: {error}")
        return 1
    return 0


def _without_prometheus(running: Running, say: Callable[[str], None]) -> None:
    say(
        "Prometheus is not installed: get `prometheus` (Debian, Ubuntu, Homebrew), start this again."
    )
    say("Until then, each process tells its numbers itself:")
    for part, url in sorted(dict(running.document.get("metrics") or {}).items()):
        say(f"  {part:20} {url}")


def _with_grafana(
    opened: ExitStack, folder: Path, source: Program, port: int, say: Callable[[str], None]
) -> list[Program]:
    if _grafana_argv() is None:
        say(f"dashboards   {ROOT / DASHBOARDS}")
        say(
            "             Grafana is not installed. In yours: add a Prometheus data source with that address;"
        )
        say("             then Dashboards, New, Import, and upload each file of that folder.")
        return []
    seen = opened.enter_context(grafana(folder / "grafana", source.url, port=port))
    say(f"Grafana      {seen.url}/dashboards  (folder Orch)")
    return [seen]


def main() -> int:
    """Runs until Ctrl-C, SIGTERM, or the end of the stack."""
    is_over = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        is_over.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return observe(sys.argv[1:], is_over, lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())
