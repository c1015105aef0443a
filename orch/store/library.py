"""The function library: built from one Lua file a verb, named by the hash of its text.

Two versions can stand side by side on a server during a rollout, because library and function names
carry the hash. `generated.lua` holds the state table, the error catalogue and the limits as Lua; it is
written by `make generate` from contracts and diff-checked.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from contracts import errors, limits, states
from contracts.errors import ErrorCode, Misuse

SCHEMA = 1
"""Version of the data in Redis; a server with newer data refuses older writers (hello)."""

ORDER = (
    "tally tell shared desired tie hello register beat declare claim hand pace dispatch cancel pause "
    "session evict bound admit settle release ask handback stop cycle reclaim note emit decide "
    "command bury leave due unready resume answer announce retire refuse replay timetable "
    "schedule unschedule fire mend repair realign recount overflow push apply acknowledge proceed "
    "survey census hook collect deliver post"
).split()
"""Files in the order of their text: Lua sees only what stands above it."""

PARTS = frozenset(
    "tally tell shared desired tie claim hand pace session evict bound settle release ask handback stop "
    "timetable mend command".split()
)
"""Files that are steps of other verbs and are not callable themselves."""


@dataclass(frozen=True, slots=True)
class Library:
    """The library as the server gets it."""

    digest: str
    code: str
    verbs: tuple[str, ...]
    headed: frozenset[str]
    """Verbs whose reply, when they were carried out, begins with the incarnation and the server's count of
    calls: all that change what somebody was promised."""

    @property
    def name(self) -> str:
        """Library name on the server."""
        return f"orch_{self.digest}"

    def function(self, verb: str) -> str:
        """Function name of a verb on the server."""
        if verb not in self.verbs:
            raise Misuse(ErrorCode.INTERNAL, f"the library has no verb {verb!r}")
        return f"{verb}_{self.digest}"


_HEAD = '-- returns {"ok", incarnation, seq'


def source(name: str) -> str:
    """The text of one Lua file."""
    return files("orch.store.functions").joinpath(f"{name}.lua").read_text(encoding="utf-8")


def flags(text: str) -> tuple[str, ...]:
    """The flags a file's header declares."""
    found = re.search(r"^-- flags: (.+)$", text, re.MULTILINE)
    return tuple(found.group(1).split()) if found else ()


def _registration(verb: str, digest: str, text: str) -> str:
    marks = ", ".join(f"'{flag}'" for flag in flags(text))
    return (
        f"redis.register_function{{function_name='{verb}_{digest}', callback={verb}, "
        f"flags={{{marks}}}}}\n"
    )


_TOP = re.compile(r"^local (?:function )?(\w+)", re.MULTILINE)


def _block(text: str, later: str, registration: str) -> str:
    """One file in a function of its own: Lua has room for 200 names in one, and most are a file's private
    ones. It hands out what `later` files use; the file's text stands there as it is."""
    words = set(re.findall(r"\w+", later))
    shown = ", ".join(one for one in dict.fromkeys(_TOP.findall(text)) if one in words)
    head = f"local {shown} = (function()\n" if shown else "(function()\n"
    return f"{head}{text}{registration}return {shown}\nend)();\n"


def _blocks(texts: dict[str, str], digest: str) -> str:
    names = list(texts)
    parts = []
    for at, name in enumerate(names):
        later = "".join(texts[one] for one in names[at + 1 :])
        registration = "" if name in PARTS else _registration(name, digest, texts[name])
        parts.append(_block(texts[name], later, registration))
    return "".join(parts)


@cache
def library() -> Library:
    """The library of this version of Orch."""
    texts = {name: source(name) for name in ORDER}
    generated = source("generated")
    digest = hashlib.sha256((generated + "".join(texts.values())).encode()).hexdigest()[:10]
    verbs = tuple(name for name in ORDER if name not in PARTS)
    headed = frozenset(verb for verb in verbs if _HEAD in texts[verb])
    code = f"#!lua name=orch_{digest}\n{generated}{_blocks(texts, digest)}"
    return Library(digest, code, verbs, headed)


def _lua_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _error_head(entry: errors.ErrorEntry) -> str:
    import orjson  # noqa: PLC0415 - only the generator needs it

    head = orjson.dumps(
        {"code": entry.code.value, "hint": entry.hint, "retriable": entry.retriable}
    )
    return head.decode()[1:-1]


_CONSTANTS: Final = MappingProxyType(
    {
        "EVENTS_MAX": limits.EVENTS_PER_JOB_MAX,
        "EVENTS_RESERVED": limits.EVENTS_RESERVED,
        "ORPHANS_MAX": limits.ORPHANS_PER_JOB_MAX,
        "OUT_MAX": limits.LOG_ENTRIES_PER_JOB_MAX,
        "BATCH_MAX": limits.BATCH_ITEMS_MAX,
        "DROPS_MAX": limits.BATCH_ITEMS_MAX,
        "WAKE_MAX": limits.WAKE_TOKENS_MAX,
        "REST_MS_MAX": limits.REST_MS_MAX,
        "BURIED_KEPT_MS": limits.BURIED_KEPT_MS,
        "BURIED_MAX": limits.BURIED_MAX,
        "RESTING_LOOKS": limits.RESTING_LOOKS,
        "INBOX_MAX": limits.INBOX_ENTRIES_MAX,
        "FEED_MAX": limits.FEED_ENTRIES_MAX,
        "ANSWER_TTL_MS": limits.ANSWER_KEY_TTL_MS,
        "FENCE": 2**limits.FENCE_SHIFT,
        "LOOKS_MAX": limits.REPAIR_LOOKS_MAX,
        "RECALL_MS_MAX": limits.RECALL_MS_MAX,
        "SCHEDULES_MAX": limits.SCHEDULES_PER_TENANT_MAX,
        "FIRE_AGAIN_MS": limits.FIRE_AGAIN_MS,
        "TOLD_MAX": limits.INCARNATIONS_TOLD_MAX,
        "POSTS_MAX": limits.WEBHOOK_POSTS_MAX,
        "POSTS_KEPT": limits.WEBHOOK_POSTS_KEPT,
        "CALLS_KEPT": limits.CALLS_KEPT,
        "SESSION_JOBS_MAX": limits.SESSION_JOBS_MAX,
        "COMMANDS_MAX": limits.COMMANDS_WAITING_MAX,
        "COMMAND_TTL_MS": limits.COMMAND_TTL_MS,
        "OPEN_MAX": limits.COMMANDS_OPEN_MAX,
        "LISTED_MAX": limits.COMMANDS_LISTED_MAX,
        "ACKS_MAX": limits.ACKS_ENTRIES_MAX,
        "REVISIONS_MAX": limits.REVISIONS_ENTRIES_MAX,
        "DESIRED_MAX": limits.DESIRED_FIELDS_MAX,
        "DAY_MS": limits.DAY_MS,
        "EVICTION_LOOKS_MAX": limits.EVICTION_LOOKS_MAX,
        "RETRY_AFTER_MS_START": limits.RETRY_AFTER_MS_START,
        "RETRY_AFTER_MS_PAUSED": limits.RETRY_AFTER_MS_PAUSED,
        "PACE_DISPATCHES": limits.PACE_DISPATCHES,
        "PACE_MS": limits.PACE_MS,
        "REQUESTS_MAX": limits.REQUESTS_BACKLOG_MAX,
        "ID_CHARS_MAX": limits.ID_CHARS_MAX,
    }
)
"""Bounds that functions need, by their names in Lua."""


def generated_lua() -> str:
    """The text of generated.lua: contracts as Lua tables."""
    code = states.STATE_CODES
    lines = [
        "-- generated: the state table, the error catalogue and the limits of contracts, as Lua.",
        "-- Written by `make generate`; a test compares it. Do not edit.",
        "local STATES = {",
    ]
    for state in states.State:
        moves = ", ".join(
            f"{event.value} = '{code[target]}'"
            for (origin, event), target in states.TRANSITIONS.items()
            if origin is state
        )
        lines.append(f"  {code[state]} = {{ {moves} }}," if moves else f"  {code[state]} = {{}},")
    first = ", ".join(f"{event.value} = '{code[to]}'" for event, to in states.FIRST.items())
    names = ", ".join(f"{code[state]} = '{state.value}'" for state in states.State)
    lines += ["}", f"local FIRST = {{ {first} }}", f"local STATE_NAMES = {{ {names} }}"]
    lines.append("local ERRORS = {")
    lines += [
        f"  {row.code.value} = {_lua_string(_error_head(row))},"
        for row in errors.CATALOGUE.values()
    ]
    lines.append("}")
    lines += [f"local {name} = {value}" for name, value in _CONSTANTS.items()]
    # Lua 5.1 formats a number through printf, at the price of a third of a command.
    lines.append("local NUMBERS = { " + ", ".join(f"'{n}'" for n in range(1, 65)) + " }")
    return "\n".join(lines) + "\n"
