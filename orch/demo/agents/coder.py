"""A stand-in for a coding agent: works in the current directory, in a way that can be foretold.

A stand-alone program: `python coder.py <deed> [<path> …]`. Whatever it prints is the output of its step.
A real agent would think where this one knows; for Orch there is no difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

THINK_S = 0.3
"""So that somebody who watches can follow; nothing depends on it."""

CODE = Path("bill/split.py")
BUG = """\
    share = total_cents // people
    return [share] * people
"""
FIX = """\
    share, rest = divmod(total_cents, people)
    return [share + 1] * rest + [share] * (people - rest)
"""
NEW_FILES = {
    "bill/tip.py": '''\
"""Add a tip to a bill, in cents."""


def with_tip(total_cents, percent):
    """The bill with a tip, rounded up to a whole cent."""
    return total_cents - -total_cents * percent // 100
''',
    "test_tip.py": """\
import unittest

from bill.tip import with_tip


class TipTest(unittest.TestCase):
    def test_a_tenth(self):
        self.assertEqual(with_tip(1000, 10), 1100)

    def test_rounds_up(self):
        self.assertEqual(with_tip(999, 10), 1099)
""",
}


def reproduce() -> None:
    """Run the tests and insist that they fail: a bug that does not show cannot be fixed."""
    tests = subprocess.run(
        [sys.executable, "-m", "unittest"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(tests.stdout)
    Path(os.environ["ORCH_ARTIFACT_DIR"], "before.txt").write_text(tests.stdout)
    if tests.returncode == 0 or "test_no_cent_is_lost" not in tests.stdout:
        sys.exit("the bug did not show")


def fix() -> None:
    """Put the fix in the place of the bug; a second time there is nothing to do."""
    code = CODE.read_text()
    if FIX not in code:
        if BUG not in code:
            sys.exit(f"{CODE} is not the code that was expected")
        CODE.write_text(code.replace(BUG, FIX))
    print(f"{CODE}: the rest of the division is now shared out, one cent each")


def plan(diary: Path) -> None:
    """Leave one line for each run."""
    with diary.open("a") as file:
        file.write(f"attempt {os.environ['ORCH_ATTEMPT']}\n")
    print("plan: add bill/tip.py, then run the tests")


def write(diary: Path, go: Path) -> None:
    """Leave a line with our process id, work until `go` is there, then write the files."""
    with diary.open("a") as file:
        file.write(f"{os.getpid()} attempt {os.environ['ORCH_ATTEMPT']}\n")
    while not go.exists():
        pause(0.02)
    for name, text in NEW_FILES.items():
        Path(name).write_text(text)
        print(f"{name} is written")


def release(record: Path) -> None:
    """Do what the human said, and write it down."""
    where = json.loads(os.environ["ORCH_ANSWER"])
    record.write_text(f"released to {where}\n")
    print(f"released to {where}")


def pause(duration_s: float) -> None:
    """Do nothing for a while."""
    threading.Event().wait(duration_s)


def main() -> None:
    """One deed."""
    deeds: dict[str, Callable[..., None]] = {
        "reproduce": reproduce,
        "fix": fix,
        "plan": plan,
        "write": write,
        "release": release,
    }
    pause(THINK_S)
    deeds[sys.argv[1]](*map(Path, sys.argv[2:]))


if __name__ == "__main__":
    main()
