"""Drills are played as an operator plays them; what goes wrong is said, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from typing_extensions import override

from ops.drills.__main__ import main, played
from ops.drills.children import environ_of, start
from ops.drills.roster import DRILLS, Drill, Play
from ops.drills.scene import Failed, Lacking, Scene, below, waited
from tests.shape.pages import ROOT

QUICK = ("dead-letters", "lost-writes")
"""Some seconds each; `make check` plays the others too (tests/thorough.py)."""
DRILL_S = 240


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a drill makes its folder; a short name, for sockets."""
    return tmp_path_factory.mktemp("d")


def started(name: str, ground: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ops.drills", name], cwd=ROOT,
        env={**environ_of(), "TMPDIR": str(ground)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def plays(name: str, ground: Path) -> None:
    drill = started(name, ground)
    said, _ = drill.communicate(timeout=DRILL_S)
    if drill.returncode == 7:
        # Root may mount, and `.ci/run` installs what a drill takes; others may not be allowed to.
        assert os.environ.get("CI") != "true" or os.geteuid() != 0, said
        pytest.skip(said.splitlines()[-2])
    assert drill.returncode == 0, said
    assert "each of the" in said, "it counted the ends of its jobs"
    assert said.splitlines()[-1].startswith(f"drill {name}: passed")
    assert list(ground.iterdir()) == []
    assert below(ground) == {}


@pytest.mark.req("DOC-1")
@pytest.mark.timeout(DRILL_S + 20)
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_drill_passes(name: str, ground: Path) -> None:
    plays(name, ground)


@pytest.mark.req("DOC-1")
@pytest.mark.timeout(DRILL_S + 20)
@pytest.mark.parametrize("name", [name for name in DRILLS if name not in QUICK])
def test_a_long_drill_passes(name: str, ground: Path) -> None:
    plays(name, ground)


@pytest.mark.req("DOC-1")
def test_a_drill_that_is_interrupted_takes_everything_down(ground: Path) -> None:
    drill = started("dead-letters", ground)
    assert waited(lambda: any("actors" in words for words in below(ground).values())), (
        "a stack runs"
    )
    drill.send_signal(signal.SIGTERM)
    said, _ = drill.communicate(timeout=60)
    assert drill.returncode == 130, said
    assert list(ground.iterdir()) == []
    assert below(ground) == {}


# -- the runner, with drills of our own


@dataclass(frozen=True)
class Ours(Drill):
    """A drill that does what a test says."""

    deed: Play

    @property
    @override
    def play(self) -> Play:
        return self.deed


def outcome(deed: Play) -> tuple[int, list[str]]:
    """Its exit code and what was said."""
    said: list[str] = []
    return played(Ours("ours", "deploy.md", "of a test", deed), said.append, ending_s=0.2), said


@pytest.mark.req("DOC-1")
def test_a_claim_that_does_not_hold_fails_the_drill_and_its_logs_are_shown() -> None:
    roots: list[Path] = []

    def deed(scene: Scene) -> None:
        roots.append(scene.root)
        (scene.root / "home.log").write_text("the last words\n")
        scene.equal("two and two", 5, 4)

    code, said = outcome(deed)
    assert code == 1
    assert "FAILED: two and two: expected 4, found 5" in said
    assert "    the last words" in said
    assert said[-1].startswith("drill ours: failed, ")
    assert not roots[0].exists()


@pytest.mark.req("DOC-1")
def test_a_fact_that_does_not_come_fails_the_drill() -> None:
    def deed(scene: Scene) -> None:
        scene.until("it snows", lambda: False, within_s=0)

    code, said = outcome(deed)
    assert (code, said[1]) == (1, "FAILED: it snows: not within 0 s")


@pytest.mark.req("DOC-1")
def test_what_the_machine_lacks_is_another_exit_code_with_a_word() -> None:
    def deed(_scene: Scene) -> None:
        raise Lacking("no snow here")

    code, said = outcome(deed)
    assert (code, said[1]) == (7, "LACKING: no snow here")


@pytest.mark.req("DOC-1")
def test_a_process_that_is_left_is_killed_and_fails_the_drill() -> None:
    left: list[subprocess.Popen[bytes]] = []

    def deed(scene: Scene) -> None:
        left.append(start(["sleep", "600"], scene.root / "left.log", cwd=scene.root))
        words = Path(f"/proc/{left[0].pid}/cmdline")
        # Until it is itself, it is called as what starts it.
        assert waited(lambda: words.read_bytes().startswith(b"sleep"))

    code, said = outcome(deed)
    assert code == 1
    assert said[1].startswith(
        f"FAILED: these were left and had to be killed: {left[0].pid} sleep 600"
    )
    assert left[0].wait(10) == -signal.SIGKILL


@pytest.mark.req("DOC-1")
def test_what_was_opened_is_ended_last_first_also_after_a_failure() -> None:
    ended: list[str] = []

    def deed(scene: Scene) -> None:
        scene.opened.callback(ended.append, "server")
        scene.opened.callback(ended.append, "stack")
        raise Failed("early")

    assert outcome(deed)[0] == 1
    assert ended == ["stack", "server"]


@pytest.mark.req("DOC-1")
def test_without_a_name_all_are_listed_and_an_unknown_one_is_refused() -> None:
    said: list[str] = []
    assert main([], said.append) == 0
    assert [line.split()[0] for line in said] == list(DRILLS)
    before = set(Path(tempfile.gettempdir()).glob("orch-drill-*"))
    assert main(["deploy", "restaur"], said.append) == 6
    assert "no drill is called 'restaur'; there are deploy, " in said[-1]
    assert set(Path(tempfile.gettempdir()).glob("orch-drill-*")) <= before, "none was begun"
