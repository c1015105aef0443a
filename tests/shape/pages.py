"""Markdown pages as the tests see them: their blocks, links, headings, and what stands in code style."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "charts", "contracts", "docker", "ops", "ops/runbooks", "perf")
RUNNABLE = "<!-- runnable -->"

FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    is_marked: bool


@dataclass(frozen=True)
class Page:
    """A Markdown page, by its path from the root."""

    name: str
    text: str

    @cached_property
    def blocks(self) -> list[Block]:
        return [
            Block(found[1], found[2], self.text[: found.start()].rstrip().endswith(RUNNABLE))
            for found in FENCE.finditer(self.text)
        ]

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def code(self) -> list[str]:
        """What stands in code style, and the lines of fenced programs."""
        programs = [block.text for block in self.blocks if block.language in ("sh", "text")]
        return CODE.findall(self.prose) + [line for text in programs for line in text.splitlines()]

    @cached_property
    def anchors(self) -> set[str]:
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {
            re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in headings
        }

    def links(self) -> Iterator[tuple[str, str]]:
        """Relative links as (file from the root, anchor)."""
        for target in LINK.findall(self.prose):
            if not re.match(r"[a-z]+:", target):
                path, _, anchor = target.partition("#")
                here = os.path.dirname(self.name)
                yield os.path.normpath(os.path.join(here, path)) if path else self.name, anchor


@cache
def pages() -> Mapping[str, Page]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("actors/*/README.md")]
    found += [path for folder in FOLDERS for path in (ROOT / folder).glob("*.md")]
    names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return {name: Page(name, (ROOT / name).read_text(encoding="utf-8")) for name in names}
