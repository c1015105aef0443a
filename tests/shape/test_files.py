"""A generated file is the old one or the new one, always: the writer is killed at each of its lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.files import write_atomically
from tests.shape.pages import ROOT

OLD, NEW = "old\n" * 50_000, "new\n" * 60_000

KILLER = """
import json, os, signal, sys
from pathlib import Path
from ops import files

target, staging = Path(sys.argv[1]), Path(sys.argv[2])
old, new = "old\\n" * 50_000, "new\\n" * 60_000

def at_line(limit):
    seen = 0
    def trace(frame, event, arg):
        nonlocal seen
        if frame.f_code.co_filename != files.__file__:
            return None
        seen += event == "line"
        if seen == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

told, limit = [], 0
while True:
    limit += 1
    target.write_text(old)
    child = os.fork()
    if child == 0:
        sys.settrace(at_line(limit))
        files.write_atomically(target, new, staging=staging)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = target.read_text()
    told.append("old" if found == old else "new" if found == new else "half")
    if os.waitstatus_to_exitcode(status) == 0:
        break
print(json.dumps(told))
"""


def other_device(beside: Path) -> Path | None:
    """A folder that no rename can reach from `beside`."""
    for place in (Path("/dev/shm"), Path("/tmp"), Path("/run")):
        if os.access(place, os.W_OK) and place.stat().st_dev != beside.stat().st_dev:
            return place
    return None


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An empty folder on another device."""
    place = other_device(tmp_path)
    if place is None:
        pytest.skip("this machine has one device only")
    folder = place / f"orch-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return folder


def killed_at_each_line(target: Path, staging: Path) -> list[str]:
    """What the file was, after a kill at line 1, 2, …, and after nothing."""
    words = [sys.executable, "-c", KILLER, str(target), str(staging)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True)
    told: list[str] = json.loads(done.stdout)
    return told


@pytest.mark.req("DOC-1")
def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    told = killed_at_each_line(tmp_path / "page.md", tmp_path)
    assert set(told) == {"old", "new"}
    assert told == sorted(told, reverse=True), "once new, it stays new"
    assert len(told) > 15
    write_atomically(tmp_path / "page.md", "last\n")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"], "and nothing is left behind"


@pytest.mark.req("DOC-1")
def test_across_devices_a_copy_is_renamed_and_a_kill_does_as_little(
    tmp_path: Path, elsewhere: Path
) -> None:
    (elsewhere / "proof").touch()
    with pytest.raises(OSError, match="cross-device"):
        os.rename(elsewhere / "proof", tmp_path / "proof")
    told = killed_at_each_line(tmp_path / "page.md", elsewhere)
    assert set(told) == {"old", "new"}
    assert len(told) > 20
    assert write_atomically(tmp_path / "page.md", "last\n", staging=elsewhere)
    assert (tmp_path / "page.md").read_text() == "last\n"
    for left in elsewhere.iterdir():  # of killed writers: nobody comes by there to sweep
        assert left.name == "proof" or left.name.endswith(".tmp")
        left.unlink()
    elsewhere.rmdir()


@pytest.mark.req("DOC-1")
def test_what_is_current_is_not_touched_and_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("a\n")
    real.chmod(0o640)
    link.symlink_to(real)
    before = real.stat()
    assert not write_atomically(link, "a\n")
    assert real.stat() == before
    assert write_atomically(link, "b\n")
    assert (link.is_symlink(), real.read_text()) == (True, "b\n")
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.req("DOC-1")
def test_a_write_that_fails_leaves_the_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("old\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "page.md", "begun, then \ud800")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "page.md"]
    assert (tmp_path / "page.md").read_text() == "old\n"
