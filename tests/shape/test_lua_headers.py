"""The header of a Lua file says what its body does: keys, arguments, results, flags.

A verb is a file that defines `local function <stem>(keys, argv)`; a file without is a step of another
verb and needs only its sentence and what it returns.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "orch" / "store" / "functions"
NO_VERBS = frozenset(("generated", "shared"))
FLAGS = frozenset(("allow-oom", "no-writes", "allow-stale", "no-cluster", "allow-cross-slot-keys"))
ENTRY = re.compile(r"^-- (KEYS|ARGV)\[(\d+|n)\] (\w+) (\w+) (.+)$", re.MULTILINE)


def header_of(text: str) -> str:
    lines = text.split("\n")
    end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return "\n".join(lines[:end])


def body_of(text: str, stem: str) -> str | None:
    """From the verb's function to the end of the file; None for a file that is no verb."""
    found = re.search(rf"^local function {stem}\((?:keys|_), *(?:argv|_)\)", text, re.MULTILINE)
    return text[found.start() :] if found else None


def used(body: str, table: str) -> tuple[set[str], bool]:
    """The literal indexes of keys or argv, and whether it is also indexed or passed on as a whole."""
    after_name = body.partition("\n")[2]
    literal = set(re.findall(rf"\b{table}\[(\d+)\]", after_name))
    return literal, re.search(rf"\b{table}\b(?!\[\d+\])", after_name) is not None


def locals_of(body: str, argument: str) -> list[str]:
    """What the body calls an argument: `local a, b = keys[1], argv[1]` names two."""
    found = []
    for names, values in re.findall(r"\blocal ([\w, ]+?) =\s((?:.*,\n)*.*)", body):
        parts = re.split(r", *(?![^(]*\))", re.sub(r"\s+", " ", values))
        pairs = zip(names.split(", "), parts, strict=False)
        found += [name for name, value in pairs if argument in value]
    return found


def alike(name: str, meaning: str, local: str) -> bool:
    """The same word up to a unit or a kind (`older_ms`, `older`), or one that the meaning uses."""
    same = name.startswith(local.partition("_")[0]) or local.startswith(name.partition("_")[0])
    return same or local in re.findall(r"\w+", meaning)


def argument_faults(header: str, body: str) -> list[str]:
    faults = []
    for word, table in (("KEYS", "keys"), ("ARGV", "argv")):
        said = [(index, name) for kind, index, name, *_ in ENTRY.findall(header) if kind == word]
        numbers = [index for index, _ in said if index != "n"]
        literal, as_whole = used(body, table)
        if numbers != [str(n + 1) for n in range(len(numbers))]:
            faults.append(f"number {word} from 1 without gaps, found {numbers}")
        faults += [
            f"{word}[{n}] is used and not in the header" for n in sorted(literal - set(numbers))
        ]
        unused = set(numbers) - literal
        if unused and not as_whole:
            faults.append(f"{word}{sorted(unused)} in the header and never used")
        if any(index == "n" for index, _ in said) and not as_whole:
            faults.append(f"{word}[n] in the header, but {table} is never walked")
        faults += [
            f"{word}[{index}] is {name} in the header and {local} in the body"
            for kind, index, name, _, meaning in ENTRY.findall(header)
            for local in locals_of(body, f"{table}[{index}]")
            if kind == word and not alike(name, meaning, local)
        ]
    return faults


def tag_faults(header: str, text: str, body: str) -> list[str]:
    said = re.search(r"^-- returns (.+)$", header, re.MULTILINE)
    if not said:
        return ["add a line `-- returns {…} | …`"]
    tags = set(re.findall(r'"(\w+)"', said[1]))
    # `done` in shared.lua writes the head of every reply of a call that was carried out.
    code = text.removeprefix(header).replace("return done(", "return { 'ok', ")
    returned = set(
        re.findall(r"return \{ ?'(\w+)'", body.replace("return done(", "return { 'ok', "))
    )
    faults = [f"returns {tag!r}, which the header does not say" for tag in sorted(returned - tags)]
    faults += [
        f"the header says {tag!r}, which nothing in the file returns"
        for tag in sorted(tags)
        if not re.search(rf"'{tag}'", code)
    ]
    return faults


def faults_of(stem: str, text: str) -> list[str]:
    header = header_of(text)
    faults = []
    if not re.match(rf"-- {stem}: \S.*\.$", text.partition("\n")[0]):
        faults.append(f"the first line is `-- {stem}: one sentence.`")
    if stem not in NO_VERBS:
        body = body_of(text, stem)
        if body is not None:
            faults += argument_faults(header, body)
            faults += tag_faults(header, text, body)
        elif "-- returns " not in header:
            faults.append("add a line `-- returns …`")
        elif ENTRY.search(header):
            faults.append(f"has KEYS or ARGV but no `local function {stem}(keys, argv)`")
    for flag in " ".join(re.findall(r"^-- flags: (.+)$", header, re.MULTILINE)).split():
        if flag not in FLAGS:
            faults.append(f"there is no flag {flag!r}")
    return [f"{stem}.lua: {fault}" for fault in faults]


@pytest.mark.parametrize("stem", sorted(path.stem for path in FUNCTIONS.glob("*.lua")))
def test_a_header_says_what_the_body_does(stem: str) -> None:
    faults = faults_of(stem, (FUNCTIONS / f"{stem}.lua").read_text())
    assert faults == [], "\n".join(faults)


GOOD = """\
-- greet: says hello.
-- KEYS[1] shard string the prefix
-- ARGV[1] name string whom
-- ARGV[n] words strings more
-- returns {"ok", count} | {"unknown"}
-- flags: allow-oom
local function greet(keys, argv)
  local shard, name = keys[1], argv[1]
  if not name then return { 'unknown' } end
  for n = 2, #argv do say(shard, argv[n]) end
  return { 'ok', #argv }
end
"""


def test_a_true_header_passes() -> None:
    assert faults_of("greet", GOOD) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("-- greet: says hello.\n", "-- says hello\n"),
        ("-- KEYS[1] shard string the prefix\n", ""),
        ("-- ARGV[1] name string whom\n", ""),
        ("-- ARGV[1] name", "-- ARGV[1] colour"),
        ("-- ARGV[n]", "-- ARGV[3]"),
        ("keys[1], argv[1]", "argv[1], keys[1]"),
        ("keys[1], argv[1]", "keys[1], 'you'"),
        ("keys[1], argv[1]", "keys[2], argv[1]"),
        ('-- returns {"ok", count} | {"unknown"}\n', ""),
        (' | {"unknown"}', ""),
        ('{"unknown"}', '{"unknown"} | {"gone"}'),
        ("-- flags: allow-oom", "-- flags: allow-everything"),
        ("local function greet(", "local function meet("),
    ],
    ids=lambda text: text.strip()[:40],
)
def test_a_header_that_lies_is_noticed(was: str, becomes: str) -> None:
    assert was in GOOD
    text = GOOD.replace(was, becomes)
    if was == "keys[1], argv[1]" and "'you'" in becomes:
        text = text.replace("for n = 2, #argv do say(shard, argv[n]) end", "").replace("#argv", "1")
    assert len(faults_of("greet", text)) >= 1
