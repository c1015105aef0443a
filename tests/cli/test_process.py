"""`orch` as a process: what it imports, where it finds its gateway, how it is interrupted (CLI-2)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orch.cli.main import COMMANDS
from tests.cli.fake_gateway import FakeGateway, ok, record, sse

HEAVY = {"redis", "fastapi", "pydantic", "httpx2", "rich", "anyio", "ruamel", "uvicorn"}
ORCH = [sys.executable, "-m", "orch.cli.main"]


def environ(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
    return {**kept, **extra}


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    "command", [[], *([name] for name, _, _ in COMMANDS), ["config", "show"]], ids=" ".join
)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "orch.cli.main", *command, "--help"],
        capture_output=True,
        text=True,
        env=environ(),
        check=True,
    )
    rows = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in rows}
    assert ended.stdout.startswith(" ".join(["Usage: orch", *command]))
    assert "cyclopts" in modules
    assert modules & HEAVY == set()


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    "how", ["flag", "ORCH_URL", "endpoint.json of --home", "endpoint.json of ORCH_HOME"]
)
def test_the_gateway_is_found_by_flag_variable_or_home(
    gateway: FakeGateway, tmp_path: Path, how: str
) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(record()))
    home = tmp_path / "home"
    home.mkdir()
    right = {"url": gateway.url, "pid": 1}
    wrong = {"url": "http://127.0.0.1:9", "pid": 1}
    (home / "endpoint.json").write_text(json.dumps(right if "endpoint" in how else wrong))
    words = {"flag": ["--url", gateway.url], "endpoint.json of --home": ["--home", str(home)]}
    extra = {
        "flag": {"ORCH_URL": "http://127.0.0.1:9", "ORCH_HOME": str(home)},
        "ORCH_URL": {"ORCH_URL": gateway.url, "ORCH_HOME": str(home)},
        "endpoint.json of --home": {"ORCH_HOME": "/nonexistent"},
        "endpoint.json of ORCH_HOME": {"ORCH_HOME": str(home)},
    }
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    ended = subprocess.run(
        [*ORCH, "status", "j1", "--json", *words.get(how, [])],
        capture_output=True,
        env=environ(ORCH_TOKEN="t0", **extra[how], **proxies),
        check=True,
    )
    assert json.loads(ended.stdout) == record()
    assert gateway.asked[0].headers["authorization"] == "Bearer t0"


@pytest.mark.req("CLI-2")
def test_without_a_stack_the_hint_says_how_to_start_one(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*ORCH, "list", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environ(),
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (7, "")
    assert ended.stderr.startswith("UNAVAILABLE: ")
    assert "orch up" in ended.stderr


@pytest.mark.req("CLI-2")
def test_a_reader_that_has_enough_is_no_error(gateway: FakeGateway) -> None:
    lines = [{"i": n, "stream": "stdout", "text": "x" * 100} for n in range(1, 5_000)]
    gateway.on("GET", "/v1/jobs/j1/logs", ok({"lines": lines, "next_cursor": None, "trimmed": 0}))
    with subprocess.Popen(
        [*ORCH, "logs", "j1", "--url", gateway.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(),
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0


@pytest.mark.req("CLI-2")
def test_ctrl_c_exits_130_and_the_job_goes_on(gateway: FakeGateway) -> None:
    first = {"i": 1, "stream": "stdout", "text": "hi\n"}
    gateway.on("GET", "/v1/jobs/j1/events", sse(("0-1", "log", first), hold=True))
    with subprocess.Popen(
        [*ORCH, "logs", "j1", "-f", "--url", gateway.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(),
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"hi\n"
        child.send_signal(signal.SIGINT)
        assert child.stderr.read() == b"interrupted\n"
    assert child.returncode == 130
    assert [asked.verb for asked in gateway.asked] == ["GET"]


def test_a_spec_is_read_from_stdin_and_counts_from_here(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    answer = {
        "job_id": "j1",
        "state": "queued",
        "queue_position": None,
        "predicted_start_ms": None,
        "duplicate": True,
    }
    gateway.on("POST", "/v1/jobs", ok(answer))
    spec = b"name: no\nadapter: {name: command, config: {argv: [ls], cwd: sub}}\n"
    ended = subprocess.run(
        [*ORCH, "submit", "-", "--url", gateway.url],
        input=spec,
        capture_output=True,
        cwd=tmp_path,
        env=environ(),
        check=True,
    )
    sent = json.loads(gateway.asked[0].body)
    assert (sent["name"], sent["adapter"]["config"]["cwd"]) == (
        "no",
        str(tmp_path.resolve() / "sub"),
    )
    assert (ended.stdout, b"nothing new" in ended.stderr) == (b"j1\n", True)


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    ("extra", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    gateway: FakeGateway, extra: dict[str, str], coloured: bool
) -> None:
    gateway.on("GET", "/v1/jobs", ok({"jobs": [record()], "next_cursor": None}))
    ours, theirs = os.openpty()
    env = {**environ(TERM="xterm"), **extra}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        if name not in extra:
            env.pop(name, None)
    try:
        subprocess.run([*ORCH, "list", "--url", gateway.url], stdout=theirs, env=env, check=True)
        shown = os.read(ours, 65_536)
    finally:
        os.close(theirs)
        os.close(ours)
    assert b"hello" in shown
    assert (b"\x1b[" in shown) == coloured
