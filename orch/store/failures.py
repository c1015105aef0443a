"""What each failure of a Redis or Valkey server, or of the link to it, means to Orch: one table.

A server names a failure by the first word of its answer (`READONLY You can't write …`), or says `ERR` and a
sentence. redis-py takes some of the words off and makes classes of them, and leaves others in the text.
`failure_of` finds the row for either; `translate` makes our error of it. An unknown word stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    DataError,
    InvalidResponse,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contracts.errors import Corrupt, ErrorCode, Misuse, OrchError, Unavailable


class Reaction(StrEnum):
    """What Orch does about a failure."""

    RETRY = "retry"
    """It passes. `Connection.execute` repeats the call within its deadline, then raises Unavailable; loops
    wait and go on."""
    REFUSE = "refuse"
    """An operator has to change something (user, address, version). Misuse, at once."""
    STOP = "stop"
    """Data, or our own code, break a promise. Corrupt, at once: going on could lose more."""


_KINDS: Final[Mapping[Reaction, type[OrchError]]] = MappingProxyType(
    {Reaction.RETRY: Unavailable, Reaction.REFUSE: Misuse, Reaction.STOP: Corrupt}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row: the reaction, and why it is the right one."""

    reaction: Reaction
    why: str
    code: ErrorCode = ErrorCode.UNAVAILABLE
    says: str = "Redis cannot do this now"
    hint: str | None = None

    def error(self, text: str) -> OrchError:
        """The error that callers see; `text` is what the server or redis-py said."""
        return _KINDS[self.reaction](self.code, f"{self.says}: {text}", hint=self.hint)


def _retry(why: str, says: str = "Redis cannot do this now") -> Failure:
    return Failure(Reaction.RETRY, why, says=says)


def _forbidden(why: str) -> Failure:
    hint = "Correct user and password in redis_url, or the ACL of that user."
    return Failure(Reaction.REFUSE, why, ErrorCode.FORBIDDEN, "Redis refuses this user", hint)


def _refuse(why: str, hint: str) -> Failure:
    says = "this Redis cannot serve Orch"
    return Failure(Reaction.REFUSE, why, ErrorCode.UNAVAILABLE, says, hint)


def _stop(why: str) -> Failure:
    return Failure(Reaction.STOP, why, ErrorCode.INTERNAL, "Redis refused a call")


_SENTINEL: Final = "a Sentinel says so: it holds no data"
_ASK_IT: Final = "Let redis_url be redis+sentinel://host:port,…/service."
_NOT_SENT: Final = "answers a command that Orch never sends"

WORDS: Final[Mapping[str, Failure]] = MappingProxyType(
    {
        # The server cannot now. It looked before it began: nothing was written.
        "BUSY": _retry("a function or script runs too long; it ends, or somebody kills it"),
        "CLUSTERDOWN": _retry("slots are not served: a failover is under way"),
        "LOADING": _retry("the server started and still reads its data"),
        "MASTERDOWN": _retry("a replica without its primary; it comes back or is promoted"),
        "MISCONF": _retry("the disk is full or broken; works again when it is not"),
        "NOGROUP": _retry("the stream was lost or its reader buried; registering makes it again"),
        "NOREPLICAS": _retry("too few replicas to write; works again when they are back"),
        "OOM": _retry("maxmemory is reached: nothing new is admitted, what was begun is recorded"),
        "READONLY": _retry(
            "a failover made this server a replica; the address leads on to another"
        ),
        "TRYAGAIN": _retry("a slot is on its way to another node"),
        "ASK": _retry("a slot is on its way to another node; then MOVED, or served here again"),
        "UNBLOCKED": _retry("a waiting read was ended: its stream went away, or a failover"),
        "INPROG": _retry("a failover is under way"),
        "NOMASTERLINK": _retry("a replica without its primary"),
        # The server will not, until somebody changes something.
        "NOAUTH": _forbidden("redis_url has no password, the server wants one"),
        "WRONGPASS": _forbidden("wrong password, or the user is disabled"),
        "NOPERM": _forbidden("the ACL lacks a command or key"),
        "DENIED": _forbidden("protected mode: no password, and not from this host"),
        "MOVED": _refuse(
            "another node serves this slot; retried where the address leads to it",
            "Let redis_url be redis+cluster://host:port,… so that it leads to our slot.",
        ),
        "REDIRECT": _refuse("a replica names its primary", "Let redis_url name the primary."),
        "NOPROTO": _refuse("the server does not speak RESP2", "Use Redis 7.0+ or Valkey 7.2+."),
        "NOGOODPRIMARY": _refuse(_SENTINEL, _ASK_IT),
        "NOGOODSLAVE": _refuse(_SENTINEL, _ASK_IT),
        "NOQUORUM": _refuse(_SENTINEL, _ASK_IT),
        # The data, or our code.
        "WRONGTYPE": _stop("a key of ours holds something else: foreign or broken data"),
        "CROSSSLOT": _stop("keys of two slots in one call: a defect of Orch"),
        "INVALIDOBJ": _stop("the server finds its own data broken"),
        "BUSYGROUP": _stop("a group was made twice: a defect of Orch, which looks before"),
        "BUSYKEY": _stop(f"{_NOT_SENT} (RESTORE)"),
        "EXECABORT": _stop(f"{_NOT_SENT} (EXEC)"),
        "NOSCRIPT": _stop(f"{_NOT_SENT} (EVALSHA)"),
        "NOTBUSY": _stop(f"{_NOT_SENT} (FUNCTION KILL)"),
        "UNKILLABLE": _stop(f"{_NOT_SENT} (FUNCTION KILL)"),
        "IOERR": _stop(f"{_NOT_SENT} (MIGRATE)"),
    }
)
"""Every word that a server may begin an error with, except ERR."""

SLOT_MOVED: Final = _retry(
    "a failover, or slots were moved; the next socket finds the new node", "the shard's slot moves"
)
"""MOVED, where the address leads on."""

_OLD: Final = "Use Redis 7.0+ or Valkey 7.2+ (`orch doctor`)."
_DATABASE: Final = "Let redis_url name a database that the server has (a Cluster has only 0)."

SENTENCES: Final[Mapping[str, Failure]] = MappingProxyType(
    {
        "max number of clients reached": _retry("maxclients is reached; somebody leaves"),
        "Script killed by user": _retry("an operator killed the function before it wrote"),
        "Protocol error": _retry("the link garbled what we sent; the server closed it"),
        "Function not found": _retry("the library was lost; it is loaded and the call repeated"),
        "ACL failure in script": _forbidden(
            "the ACL lacks a command that a function uses (Valkey)"
        ),
        "The user executing the script": _forbidden("the same, as Redis says it"),
        "invalid password": _forbidden("wrong password"),
        "Client sent AUTH": _forbidden("redis_url has a password, the server has none"),
        "AUTH <password> called": _forbidden("redis_url has a password, the server has none"),
        "unknown command": _refuse("a server without functions, or a command was renamed", _OLD),
        "DB index is out of range": _refuse(
            "redis_url names a database that is not there", _DATABASE
        ),
        "SELECT is not allowed": _refuse(
            "redis_url names a database, the server is a Cluster", _DATABASE
        ),
    }
)
"""What follows ERR, by its beginning. Anything else stops: it comes out of our own functions."""

UNKNOWN: Final = _stop(
    "no row: a promise of our functions is broken, or a server that we do not know"
)

_UNREACHED: Final = "Redis cannot be reached"

LINK: Final[Mapping[type[RedisError], Failure]] = MappingProxyType(
    {
        AuthenticationError: _forbidden("refused while connecting"),
        AuthorizationError: _forbidden("refused while connecting"),
        MaxConnectionsError: _retry("this process has too many calls under way", _UNREACHED),
        RedisTimeoutError: _retry("no answer in time; it may have been carried out", _UNREACHED),
        RedisConnectionError: _retry(
            "refused, reset or cut; it may have been carried out", _UNREACHED
        ),
        InvalidResponse: _retry(
            "no Redis protocol: a garbled link, or another program", _UNREACHED
        ),
        DataError: _stop("an argument that cannot be sent: a defect of Orch"),
    }
)
"""Failures without a word of the server, by redis-py's class; the first that fits."""

_OTHERWISE: Final = _retry("redis-py failed in a way we do not know", "Redis failed")

_NEWER: Final = Failure(
    Reaction.REFUSE,
    "the data were written by a newer Orch",
    says="the data was written by a newer Orch",
    hint="Run a newer version of Orch.",
)
NEWER_SCHEMA: Final = "ORCH newer schema"
"""How `Connection` says that `hello` refused us."""


def is_missing_function(error: RedisError) -> bool:
    """Whether the server lost our library, or never had it: load it and call again."""
    return isinstance(error, ResponseError) and "unction not found" in str(error)


def is_missing_library(error: BaseException | None) -> bool:
    """Whether a library that was to be removed is gone already."""
    return isinstance(error, ResponseError) and "library not found" in str(error).lower()


def has_moved(error: RedisError) -> bool:
    """Whether our data is on another server now: a failover made this one a replica, or the slot moved.

    Sockets that stand have to go; the address leads on.
    """
    return isinstance(_as_said(error), ReadOnlyError | MasterDownError | MovedError)


def _as_said(error: RedisError) -> RedisError:
    """On a Unix socket redis-py wraps what the server says while it connects, a wrong password too."""
    while type(error) is RedisConnectionError and isinstance(error.__cause__, RedisError):
        error = error.__cause__
    return error


def failure_of(error: RedisError) -> Failure:
    """The row of the table for what redis-py raised."""
    error = _as_said(error)
    text = str(error)
    if text.startswith(NEWER_SCHEMA):
        return _NEWER
    # redis-py takes the word off where it has a class for it, and then keeps it as status_code.
    word, _, rest = (
        (error.status_code or "", " ", text) if error.status_code else text.partition(" ")
    )
    if word in WORDS:
        return WORDS[word]
    sentence = rest if word == "ERR" else text
    for beginning, row in SENTENCES.items():
        if sentence.startswith(beginning):
            return row
    if isinstance(error, ResponseError):
        return UNKNOWN
    return next((row for kind, row in LINK.items() if isinstance(error, kind)), _OTHERWISE)


def translate(error: RedisError, *, is_led: bool = False) -> OrchError:
    """Our error for a failure of redis-py; raised `from` it, once, where the call was made.

    `is_led`: the address leads to the server, so a slot that another node serves is found there.
    """
    row = SLOT_MOVED if is_led and isinstance(_as_said(error), MovedError) else failure_of(error)
    return row.error(str(error) or type(error).__name__)
