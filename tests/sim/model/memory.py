"""The memory of calls that a field of a hash holds, so that one whose answer was lost is known again."""

from __future__ import annotations


def said_to(lines: str, mark: str) -> str | None:
    """What was said to the call of this mark."""
    known = dict(line.split("\t", 1) for line in lines.split("\n") if line)
    return known.get(mark)


def remember(lines: str, mark: str, said: str, most: int) -> str:
    """The memory with one call more, the newest first."""
    kept = [line for line in lines.split("\n") if line]
    return "\n".join([f"{mark}\t{said}", *kept][:most])
