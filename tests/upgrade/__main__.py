"""`python -m tests.upgrade`: two versions on one server under load, there and back; a table, 1 on a fault.

--old    a commit or a tag; without it the last tag, and before there is one this code under another hash
--jobs   how many end before, in the middle and after each passage
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio

from orch.telemetry.logs import configure_logs
from tests.upgrade import judge
from tests.upgrade.story import Outcome, Passage, Shape, tell
from tests.upgrade.versions import Version, other_version, this_version

_SHOWN = 20


def say(text: object) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(rows: list[tuple[object, ...]]) -> Iterator[str]:
    """Rows in columns; the first one is the head."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _passage_row(one: Passage) -> tuple[object, ...]:
    both = {one.leaves.library, one.comes.library} <= set(one.libraries)
    gone = "kept" if one.removed_ms is None else f"after {one.removed_ms / 1_000:.1f} s"
    return (
        f"{one.leaves.label} -> {one.comes.label}", f"{one.took_ms / 1_000:.1f} s",
        f"{one.begun[one.leaves.label]} and {one.begun[one.comes.label]}",
        "both" if both else " ".join(one.libraries), gone,
    )  # fmt: skip


def report(outcome: Outcome) -> Iterator[str]:
    """What came of it, line by line."""
    head = ("passage", "took", "begun half way", "libraries half way", "the old one gone")
    yield from table([head, *map(_passage_row, outcome.passages)])
    yield ""
    by_kind = Counter(outcome.books.accepted.values())
    ends = {
        kind: ", ".join(f"{n} {end}" for (of, end), n in sorted(outcome.ends.items()) if of == kind)
        for kind in by_kind
    }
    rows = [(kind, n, ends[kind]) for kind, n in sorted(by_kind.items())]
    yield from table([("kind", "accepted", "ended"), *rows])
    yield ""
    waits = [(door, n, outcome.books.longest_ms[door]) for door, n in outcome.books.doors.items()]
    yield from table([("door", "accepted", "longest wait ms"), *waits])
    yield ""
    told = judge.causes(outcome.jobs)
    moves = ("claim", "handback", "backoff", "retry", "bury", "unready")
    yield "  ".join(f"{name} {told[name]}" for name in moves)
    counted = [f"{name} {n}" for name, n in sorted(outcome.counted.items())]
    yield f"repairs, failures: {', '.join(counted) or 'none'}; burials {outcome.burials}"


def _versions(root: Path, ref: str | None) -> tuple[Version, Version]:
    versions = other_version(root / "other", ref), this_version()
    head = ("version", "says", "library", "schema", "folder")
    rows = [(one.label, one.version, one.library, one.schema, one.tree) for one in versions]
    for line in table([head, *rows]):
        say(line)
    return versions


def main() -> int:
    """Tells it; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.upgrade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--old", metavar="REF")
    parser.add_argument("--jobs", type=int, default=150)
    given = parser.parse_args()
    configure_logs("error", actor="upgrade")
    root = Path(tempfile.mkdtemp(prefix="orch-upgrade-"))
    try:
        old, new = _versions(root, given.old)
    except LookupError as error:
        shutil.rmtree(root)
        parser.error(f"--old: {error}")
    outcome = anyio.run(partial(tell, old, new, Shape(jobs=given.jobs), root / "story", say))
    for line in ("", *report(outcome)):
        say(line)
    for fault in outcome.faults[:_SHOWN]:
        say(f"FAULT: {fault[:300]}")
    if outcome.faults:
        say(f"{len(outcome.faults)} faults; evidence in {root}")
        return 1
    say("every job ended once, none is stuck")
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
