"""`orch demo`: what it shows holds, it is private, and it leaves nothing behind, however it ends."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from typing_extensions import override

from orch.demo.bright import BrightVoice
from orch.demo.check import Check
from orch.demo.voice import Voice
from tests.e2e.invariants import key_faults, ledger_faults
from tests.e2e.stack import connect, environ, wait_until

PARTS: Final = ["stack", "coding", "crash", "question", "crowd", "end"]
ORCH: Final = [sys.executable, "-m", "orch.cli.main"]
SHOULD_TAKE_MS_MAX: Final = 60_000
NOBODY: Final = "setpriv --reuid=65534 --regid=65534 --clear-groups env".split()
"""`env` because setpriv itself still has what it takes to start a program that nobody may read."""

pytestmark = pytest.mark.timeout(180)


@dataclass
class Visit:
    """Somebody who runs the demo: everything that it starts has this HOME and this TMPDIR."""

    home: Path
    extra: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def begin(self, *words: str) -> subprocess.Popen[str]:
        place = {"HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [*self.prefix, *ORCH, "demo", *words],
            env={**environ(), **place, **self.extra},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        demo = self.begin(*words)
        out, err = demo.communicate(timeout=170)
        return demo.returncode, out, err

    def processes(self) -> list[str]:
        """The command lines of all that lives with this HOME: actors, server, guards, agents."""
        mark = f"HOME={self.home}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().decode().replace("\0", " "))
            except OSError:
                continue
        return found

    def left(self) -> tuple[list[str], list[str]]:
        """Processes and files."""
        return self.processes(), sorted(path.name for path in self.home.iterdir())


@pytest.fixture
def visit() -> Iterator[Visit]:
    # Not pytest's folder: with workers its name is so long that a socket would need another place.
    with tempfile.TemporaryDirectory(prefix="visit-") as home:
        visit = Visit(Path(home))
        yield visit
        wait_until(lambda: not visit.processes(), what=f"nothing is left of {visit.processes()}")


def faults_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [check for stage in document["stages"] for check in stage["checks"] if not check["ok"]]


def read_until(stream: Iterator[str], words: str) -> None:
    for line in stream:
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}")


HOSTILE: Final = {
    "ORCH_REDIS_URL": "redis://127.0.0.1:1/0",
    "ORCH_HOME": "/nonexistent",
    "ORCH_URL": "http://127.0.0.1:1",
    "GIT_DIR": "/nonexistent",
    "http_proxy": "http://127.0.0.1:1",
}


@dataclass
class Ended:
    """A demo that ran to its end."""

    code: int
    document: dict[str, Any]
    err: str
    left: tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """Two demos at once, the second where the environment and the directory say other things."""
    visits = [Visit(tmp_path_factory.mktemp("one")), Visit(tmp_path_factory.mktemp("two"))]
    visits[1].extra |= HOSTILE
    (visits[1].home / "orch.toml").write_text("nonsense = 1\n")
    demos = [visit.begin("--json") for visit in visits]
    said = [demo.communicate(timeout=170) for demo in demos]
    return [
        Ended(demo.returncode, json.loads(out), err, visit.left())
        for visit, demo, (out, err) in zip(visits, demos, said, strict=True)
    ]


@pytest.mark.req("CLI-1", "CLI-2")
def test_every_claim_holds_and_the_document_says_so(side_by_side: list[Ended]) -> None:
    ended, document = side_by_side[0], side_by_side[0].document
    assert faults_of(document) == []
    assert (ended.code, document["ok"], document["kept"]) == (0, True, False)
    stages = {stage["name"]: stage for stage in document["stages"]}
    assert list(stages) == PARTS
    assert all(stage["checks"] for stage in stages.values())
    jobs = [stages[name] for name in ("coding", "crash", "question", "crowd")]
    assert [job["state"] for job in jobs] == ["completed"] * 4
    assert [job["attempts"] for job in jobs[:3]] == [1, 2, 2]
    assert stages["crash"]["facts"]["takeover_ms"] < 15_000
    assert stages["crowd"]["facts"]["jobs_per_s"] > 0
    assert document["duration_ms"] < SHOULD_TAKE_MS_MAX
    assert "What happened" in ended.err
    assert "\x1b" not in ended.err
    assert ended.left == ([], [])


@pytest.mark.req("ARC-3")
def test_it_is_private_whatever_the_environment_says(side_by_side: list[Ended]) -> None:
    ended = side_by_side[1]
    assert (faults_of(ended.document), ended.code) == ([], 0)
    assert ended.left == ([], ["orch.toml"])


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("is starting", signal.SIGINT),
        ("step write starts", signal.SIGTERM),
        ("2000 python calls", signal.SIGINT),
    ],
)
def test_interrupted_it_takes_everything_down(
    visit: Visit, moment: str, number: signal.Signals
) -> None:
    demo = visit.begin()
    assert demo.stdout is not None
    read_until(demo.stdout, moment)
    demo.send_signal(number)
    out, err = demo.communicate(timeout=60)
    assert (demo.returncode, err) == (130, "")
    assert out.splitlines()[-1].strip().startswith("interrupted; the stack has been stopped")
    assert visit.left() == ([], [])


@pytest.mark.req("CLI-2")
def test_a_stack_that_dies_is_a_failed_check_that_says_what_was_found(visit: Visit) -> None:
    demo = visit.begin()
    assert demo.stdout is not None
    read_until(demo.stdout, "step reproduce starts")
    (supervisor,) = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    os.kill(int(supervisor), signal.SIGKILL)
    out, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1
    assert "✗ the stack stands" in out
    assert "expected: its supervisor runs" in out
    assert "found:    its supervisor has ended" in out
    assert visit.left() == ([], [])


@pytest.mark.req("CLI-1")
def test_kept_it_can_be_looked_at_and_stopped_with_the_commands_that_it_prints(
    visit: Visit,
) -> None:
    code, out, _ = visit.run("--keep")
    assert code == 0
    lines = [line.strip() for line in out[out.index("The stack runs on") :].splitlines()]
    commands = [line for line in lines if " --home " in line]
    assert len(commands) == 6
    home = Path(commands[0].partition(" --home ")[2].split()[0])
    with connect(json.loads((home / "endpoint.json").read_bytes())["redis_url"]) as kept:
        assert [*ledger_faults(kept), *key_faults(kept)] == []
    for command in commands:
        ended = subprocess.run(
            ["sh", "-c", command], env=environ(), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{command}: {ended.stderr}"
    assert visit.left() == ([], [])


@pytest.mark.req("CLI-2")
def test_without_git_it_says_what_is_missing_and_starts_nothing(visit: Visit) -> None:
    visit.extra["PATH"] = str(visit.home)
    code, out, _ = visit.run("--json")
    assert (code, json.loads(out)["code"]) == (7, "DEPENDENCY_MISSING")
    assert visit.left() == ([], [])


@pytest.mark.req("CLI-1")
def test_an_unprivileged_user_may_run_it() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("this run is unprivileged itself, or cannot become so")
    try_it = [*NOBODY, *ORCH, "--version"]
    if subprocess.run(try_it, cwd="/", capture_output=True, check=False).returncode != 0:
        pytest.skip("nobody may not read this interpreter or checkout")
    home = Path(tempfile.mkdtemp())
    os.chown(home, 65534, 65534)
    visit = Visit(home, prefix=tuple(NOBODY))
    try:
        code, out, _ = visit.run("--json")
        assert (code, faults_of(json.loads(out))) == (0, [])
        assert visit.left() == ([], [])
    finally:
        shutil.rmtree(home)


# ---------------------------------------------------------------- how it talks


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    encoding = "utf-8"

    @override
    def isatty(self) -> bool:
        return True


FAILED = Check("two and two are four", expected="4", found="5", ok=False)


@pytest.mark.req("CLI-2")
def test_a_claim_that_does_not_hold_is_told_with_what_was_expected_and_found() -> None:
    stream = io.StringIO()
    Voice(stream).check(FAILED)
    told = [line.split() for line in stream.getvalue().splitlines()]
    assert told[0][1:] == FAILED.claim.split()
    assert told[1:] == [["expected:", "4"], ["found:", "5"]]


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize("make", [Voice, BrightVoice])
def test_what_an_agent_prints_cannot_move_the_cursor(make: Callable[[Any], Voice]) -> None:
    stream = Terminal()
    make(stream).output("\x1b[2Jgone\rover\n")
    assert "\x1b[2J" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(("no_colour", "has_colour"), [("", True), ("1", False)])
def test_a_terminal_gets_colour_unless_it_asks_for_none(
    monkeypatch: pytest.MonkeyPatch, no_colour: str, has_colour: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    BrightVoice(stream).check(FAILED)
    assert ("\x1b[1;31m" in stream.getvalue()) is has_colour
