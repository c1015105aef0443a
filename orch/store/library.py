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

from contracts import errors, limits, states
from contracts.errors import ErrorCode, Misuse

SCHEMA = 1
"""Version of the data in Redis; a server with newer data refuses older writers (hello)."""

ORDER = (
    "tell shared hello register beat declare claim dispatch admit settle release ask handback stop cycle "
    "reclaim note emit decide bury leave due unready cancel pause resume answer announce retire refuse "
    "replay timetable schedule unschedule fire mend repair realign recount hook collect deliver post"
).split()
"""Files in the order of their text: Lua sees only what stands above it."""

PARTS = frozenset(
    {"tell", "shared", "claim", "settle", "release", "ask", "handback", "stop", "timetable", "mend"}
)
"""Files that are steps of other verbs and are not callable themselves."""

OPEN = PARTS | {"register", "dispatch", "admit", "bury", "cancel", "collect"}
"""Files whose names later files use. Each other file is a block of its own: Lua allows 200 local names in
one."""


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


@cache
def library() -> Library:
    """The library of this version of Orch."""
    texts = {name: source(name) for name in ORDER}
    digest = hashlib.sha256((source("generated") + "".join(texts.values())).encode()).hexdigest()[
        :10
    ]
    verbs = tuple(name for name in ORDER if name not in PARTS)
    body = source("generated") + "".join(_block(name, texts[name], digest) for name in ORDER)
    headed = frozenset(verb for verb in verbs if _HEAD in texts[verb])
    return Library(digest, f"#!lua name=orch_{digest}\n{body}", verbs, headed)


def _block(name: str, text: str, digest: str) -> str:
    """A file as it stands in the library, with the registration of its verb."""
    whole = text if name in PARTS else text + _registration(name, digest, text)
    return whole if name in OPEN else f"do\n{whole}end\n"


def _lua_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _error_head(entry: errors.ErrorEntry) -> str:
    import orjson  # noqa: PLC0415 - only the generator needs it

    head = orjson.dumps(
        {"code": entry.code.value, "hint": entry.hint, "retriable": entry.retriable}
    )
    return head.decode()[1:-1]


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
    constants = {
        "EVENTS_MAX": limits.EVENTS_PER_JOB_MAX,
        "EVENTS_RESERVED": limits.EVENTS_RESERVED,
        "ORPHANS_MAX": limits.ORPHANS_PER_JOB_MAX,
        "OUT_MAX": limits.LOG_ENTRIES_PER_JOB_MAX,
        "BATCH_MAX": limits.BATCH_ITEMS_MAX,
        "DROPS_MAX": limits.BATCH_ITEMS_MAX,
        "WAKE_MAX": limits.WAKE_TOKENS_MAX,
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
    }
    lines += [f"local {name} = {value}" for name, value in constants.items()]
    # Lua 5.1 formats a number through printf, at the price of a third of a command.
    lines.append("local NUMBERS = { " + ", ".join(f"'{n}'" for n in range(1, 65)) + " }")
    return "\n".join(lines) + "\n"
