"""ops/redis/users.acl: what each process may do on the server, and not a command more.

A command inside a function is checked against the user who calls it. So a role's user has the commands that
its Python sends (ROLES), and those in the Lua of the functions that it calls, read out of their text. Names
of functions carry a hash, so `FCALL` itself is not narrowed: what a function may do for a user is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from orch.store.library import ORDER, PARTS, source

KEYS: Final = "~{orch:*}:*"
"""Everything of Orch, and nothing of others."""
_ON: Final = "on >change-me resetkeys resetchannels"

# What every process sends: its greeting, its life as an instance, its look at the server, and what it is
# wanted to do.
_ALL_VERBS: Final = "hello register beat leave acknowledge"
_ALL: Final = (
    "fcall function|load info acl|whoami cluster|slots select ping time"
    " hget hmget hgetall xread xrevrange"
)


@dataclass(frozen=True, slots=True)
class Role:
    """What the Python of one kind of process does."""

    verbs: str
    """Functions that it calls."""
    commands: str
    """Commands that it sends itself."""


ROLES: Final[Mapping[str, Role]] = {
    "admission": Role("admit overflow refuse survey", "xreadgroup get set smembers"),
    "scheduler": Role(
        "due dispatch unready apply proceed fire survey",
        "xreadgroup xrange get set smembers",
    ),
    "runner": Role("cycle reclaim note emit", "xreadgroup xadd hsetnx"),
    "reaper": Role(
        "bury announce retire repair realign recount census",
        "exists llen xpending function|list function|delete",
    ),
    "fallback": Role("decide", "xreadgroup"),
    "notifier": Role("collect deliver", "xreadgroup"),
    "gateway": Role(
        "admit cancel pause resume answer replay schedule unschedule fire push hook post survey",
        "exists get set hsetnx hlen hvals llen lpos lrange scard smembers xrange zcard zrange",
    ),
}
"""By the names of `python -m actors ROLE`."""

SUPERVISOR: Final = Role("declare bury", "hset hdel")
"""What `orch up` and `orch token` do besides: their user, orch-actors, is that of all roles together."""

_OPS: Final = (
    "%W~{orch:*}:control %R~{orch:*}:acks %R~{orch:*}:command:* %R~{orch:*}:commands %R~{orch:*}:desired"
    " -@all +xadd +xread +xrange +xrevrange +hgetall +hget +hmget +zrange +ping +auth +hello +client|setname"
    " +select"
)
_PRODUCER: Final = "-@all (%W~{orch:0}:requests -@all +xadd) (%R~{orch:*}:answer:* -@all +get)"
OTHERS: Final = (f"user orch-ops {_ON} {_OPS}", f"user orch-producer {_ON} {_PRODUCER}")
"""People and programs outside: they call no functions."""


def users_acl() -> str:
    """The file; an ACL file has no comments."""
    lines = [_user(f"orch-{name}", [role]) for name, role in ROLES.items()]
    lines.append(_user("orch-actors", [*ROLES.values(), SUPERVISOR]))
    return "".join(f"{line}\n" for line in (*lines, *OTHERS))


def _user(name: str, roles: Iterable[Role]) -> str:
    allowed = " ".join(f"+{command}" for command in sorted(commands_of(roles)))
    return f"user {name} {_ON} {KEYS} -@all {allowed}"


def commands_of(roles: Iterable[Role]) -> set[str]:
    """Everything that these need."""
    found = set(_ALL.split())
    for role in roles:
        found |= set(role.commands.split())
        for verb in (*_ALL_VERBS.split(), *role.verbs.split()):
            found |= within(verb)
    return found


# ---------------------------------------------------------------- the Lua

_OPTIONS: Final = frozenset(
    (
        "WITHSCORES MAXLEN COUNT LIMIT PX NX LT STREAMS NOACK GROUP MKSTREAM MATCH"
        " CREATE DELCONSUMER GROUPS"
    ).split()
)
"""Words in capitals that are no commands: one that is missing here makes a file which no server loads."""
_CONTAINERS: Final = frozenset(("XGROUP", "XINFO"))
_WORD: Final = re.compile(r"'([A-Z]{2,})'(?=(?:, '([A-Z]+)')?)")
_HEAD: Final = re.compile(r"(?:local function|function|local) ([\w.]+)")
_NAME: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?")
_COMMENT: Final = re.compile(r"--.*$", re.MULTILINE)


@cache
def within(verb: str) -> frozenset[str]:
    """The commands that a function can come to, by whatever its text names."""
    assert verb in {*ORDER} - PARTS, f"{verb} is no function"
    ahead, seen, found = [(verb, verb)], set[tuple[str, str]](), set[str]()
    while ahead:
        place = ahead.pop()
        if place in seen:
            continue
        seen.add(place)
        text = _blocks(place[0])[place[1]]
        found.update(_commands(text))
        ahead += _named(place[0], text)
    return frozenset(found)


@cache
def _blocks(file: str) -> Mapping[str, str]:
    """What stands at the top of a file: each function or table by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in _COMMENT.sub("", source(file)).splitlines():
        head = _HEAD.match(line)
        name = head[1] if head else name
        found[name] = f"{found.get(name, '')}{line}\n"
    return found


def _named(file: str, text: str) -> Iterator[tuple[str, str]]:
    """The blocks that a text names: of its own file first, else of the last file before it."""
    files = [file, *reversed(ORDER[: ORDER.index(file)])]
    for name in set(_NAME.findall(re.sub(r"'[^']*'", "''", text))):
        # A table of functions is filled in by the file that it belongs to, which may come later.
        places = ORDER if "." in name else files
        found = next((one for one in places if name in _blocks(one)), None)
        if found is not None:
            yield found, name


def _commands(text: str) -> Iterator[str]:
    for word, then in _WORD.findall(text):
        if word in _CONTAINERS:
            yield f"{word}|{then}".lower()
        elif word not in _OPTIONS:
            yield word.lower()
