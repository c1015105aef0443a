"""`orch up` and `orch down` against actors of our own making: the contract between the two (CLI-1).

The stand-in is a package `actors` on PYTHONPATH that does what `python -m actors up` promises: it writes
endpoint.json, answers /livez and /readyz, ends at SIGTERM; or, told so by its environment, it fails.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orch.cli import stack
from orch.cli.main import run

ACTORS = """
import http.server, json, os, pathlib, signal, sys, threading
words = sys.argv[1:]
home = pathlib.Path(words[words.index("--home") + 1])
if words[0] == "doctor" and os.environ["DO"] == "mute":
    sys.exit(6)
if words[0] == "doctor":
    row = {"name": "engine", "ok": os.environ["DO"] == "well", "found": "none", "fix": "get it"}
    print(json.dumps({"checks": [row]}))
    sys.exit(7)
(home / "words.json").write_text(json.dumps([words, os.environ.get("ORCH_REDIS_URL")]))
if os.environ["DO"] == "refuse":
    body = {"code": "HOME_IN_USE", "message": "locked", "hint": "another"}
    (home / "up.error.json").write_text(json.dumps(body))
    sys.exit(6)
if os.environ["DO"] == "crash":
    print("Traceback: very wrong", file=sys.stderr)
    sys.exit(3)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        body = {"live": True, "ready": True, "checks": {"redis": "ok"}, "version": "0"}
        self.wfile.write(json.dumps(body).encode())
    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
url = f"http://127.0.0.1:{server.server_port}"
document = {"url": url, "pid": os.getpid(), "redis_url": "unix:///s", "metrics": {}, "started_at_ms": 1}
part = home / "endpoint.json.part"
part.write_text(json.dumps(document))
part.rename(home / "endpoint.json")
server.serve_forever()
"""


@dataclass(frozen=True)
class House:
    """A home, and `orch` with the stand-in."""

    home: Path
    package: Path

    def environ(self, do: str) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
        # The stand-in for `actors` comes first, and `orch` is the one that is tested, whatever is installed.
        path = f"{self.package}{os.pathsep}{Path(__file__).parents[2]}"
        return {**kept, "DO": do, "PYTHONPATH": path, "ORCH_HOME": str(self.home)}

    def orch(self, *words: str, do: str = "well") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orch.cli.main", *words],
            env=self.environ(do),
            cwd=self.package,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )

    def endpoint(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.home / "endpoint.json").read_bytes())
        return document


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    package = tmp_path / "package"
    (package / "actors").mkdir(parents=True)
    (package / "actors" / "__init__.py").touch()
    (package / "actors" / "__main__.py").write_text(ACTORS)
    house = House(tmp_path / "home", package)
    yield house
    house.orch("down")


@pytest.mark.req("CLI-1")
def test_up_waits_until_it_is_ready_and_down_stops_it(house: House) -> None:
    up = house.orch("up", "--detach", "--wait", "--json")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout) == house.endpoint()
    assert stat.S_IMODE(house.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((house.home / "log" / "orch.log").stat().st_mode) == 0o600
    assert stack.is_alive(house.endpoint()["pid"])
    down = house.orch("down", "--json")
    assert json.loads(down.stdout) == {"stopped": True, "pid": house.endpoint()["pid"]}
    assert not stack.is_alive(house.endpoint()["pid"])


@pytest.mark.req("CLI-1")
def test_a_second_up_says_so_and_changes_nothing(house: House) -> None:
    first = house.orch("up", "--wait")
    second = house.orch("up")
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stdout == first.stdout == house.endpoint()["url"] + "\n"
    assert "already up" in second.stderr


@pytest.mark.req("CLI-1")
def test_down_where_nothing_runs_is_no_failure(house: House) -> None:
    for _ in range(2):
        down = house.orch("down")
        assert (down.returncode, down.stdout) == (0, "")
        assert "nothing runs" in down.stderr


@pytest.mark.req("CLI-1")
def test_down_leaves_a_stranger_alone_who_got_the_old_process_id(house: House) -> None:
    house.home.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (house.home / "endpoint.json").write_text(
            json.dumps({"url": "http://x", "pid": stranger.pid})
        )
        assert "nothing runs" in house.orch("down").stderr
        assert stranger.poll() is None
        assert stranger.stdin is not None
        stranger.stdin.write(b"\n")


@pytest.mark.req("CLI-1")
def test_down_leaves_the_stack_of_another_home_alone(house: House, tmp_path: Path) -> None:
    house.orch("up", "--wait")
    other = tmp_path / "other"
    other.mkdir()
    (other / "endpoint.json").write_text(json.dumps(house.endpoint()))
    assert "nothing runs" in house.orch("down", "--home", str(other)).stderr
    assert stack.is_alive(house.endpoint()["pid"])


@pytest.mark.req("CLI-1")
def test_what_the_actors_say_when_they_cannot_start_is_the_error_of_up(house: House) -> None:
    human = house.orch("up", "--wait", do="refuse")
    machine = house.orch("up", "--wait", "--json", do="refuse")
    assert (human.returncode, human.stdout, human.stderr) == (
        6,
        "",
        "HOME_IN_USE: locked\nanother\n",
    )
    assert (machine.returncode, json.loads(machine.stdout)["code"]) == (6, "HOME_IN_USE")


@pytest.mark.req("CLI-1")
def test_a_crash_at_the_start_shows_the_end_of_the_log(house: House) -> None:
    ended = house.orch("up", "--wait", do="crash")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Traceback: very wrong" in ended.stderr
    assert "exited with 3" in ended.stderr


@pytest.mark.req("CFG-3", "SEC-2")
def test_flags_reach_the_actors_and_a_password_is_not_on_their_command_line(house: House) -> None:
    (house.package / "orch.toml").write_text("slots = 3\n")
    redis_url = "redis://u:hunter2@127.0.0.1:1"
    house.orch("up", "--wait", "--port", "0", "--lease-ms", "5000", "--redis-url", redis_url)
    words, found = json.loads((house.home / "words.json").read_text())
    config = str(house.package / "orch.toml")
    assert words == [
        "up", "--home", str(house.home), "--config", config, "--set", "lease_ms=5000", "--set", "port=0",
    ]  # fmt: skip
    assert found == redis_url
    shown = house.orch("up", "--json").stdout
    assert "hunter2" not in shown


@pytest.mark.req("CLI-1", "API-5")
def test_in_the_foreground_up_is_the_actors_and_ends_with_their_signal(house: House) -> None:
    house.home.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "orch.cli.main", "up"], env=house.environ("well"), cwd=house.package
    ) as child:
        assert stack.wait_until(lambda: stack.running_in(house.home) is not None)
        assert house.endpoint()["pid"] == child.pid
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


@pytest.mark.req("CLI-3")
@pytest.mark.parametrize(("do", "code"), [("well", 0), ("ill", 7)])
def test_doctor_asks_the_actors_when_no_gateway_runs(house: House, do: str, code: int) -> None:
    machine = house.orch("doctor", "--json", do=do)
    report = json.loads(machine.stdout)
    assert (machine.returncode, report["ok"]) == (code, code == 0)
    assert {row["name"] for row in report["checks"]} == {"python", "settings", "home", "engine"}
    assert all(row["ok"] or row["fix"] for row in report["checks"])
    human = house.orch("doctor", do=do)
    assert ("fix: get it" in human.stdout) == (code == 7)


@pytest.mark.req("CLI-3", "CFG-2")
def test_doctor_says_of_a_bad_settings_file_what_is_bad_and_nothing_about_the_installation(
    house: House,
) -> None:
    house.home.mkdir()
    (house.home / "orch.toml").write_text('slots = "many"\n')
    told = house.orch("doctor", "--json", do="mute")  # the actors refuse to start on such a file
    rows = {row["name"]: row for row in json.loads(told.stdout)["checks"]}
    assert told.returncode == 7
    assert {name for name, row in rows.items() if not row["ok"]} == {"settings"}
    assert "slots" in rows["settings"]["found"]
    assert "Install Orch again" not in told.stdout
    (house.home / "orch.toml").unlink()
    assert "Install Orch again" in house.orch("doctor", do="mute").stdout


@pytest.mark.req("CLI-3")
def test_doctor_asks_the_gateway_while_one_runs(house: House) -> None:
    house.orch("up", "--wait")
    report = json.loads(house.orch("doctor", "--json").stdout)
    rows = {row["name"]: row for row in report["checks"]}
    assert rows["gateway"]["found"] == house.endpoint()["url"]
    assert rows["redis"]["ok"]
    assert (rows["version"]["ok"], rows["version"]["fix"]) == (False, "Install the same version.")


def test_a_home_that_cannot_be_made_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code = run(["up", "--wait", "--home", str(tmp_path / "file" / "home")])
    assert (code, capsys.readouterr().err.splitlines()[0].partition(":")[0]) == (
        6,
        "INVALID_CONFIG",
    )


def test_one_metrics_port_for_all_parts_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    code = run(["up", "--wait", "--home", str(home), "--metrics-port", "9464"])
    said = capsys.readouterr().err
    assert (code, said.splitlines()[0].partition(":")[0]) == (6, "INVALID_CONFIG")
    assert "ORCH_METRICS_PORT=0" in said
    assert not (home / "data").exists()
