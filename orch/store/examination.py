"""What does a server say of itself? Asked on sockets that greet nobody, so that nothing is written first.

`meet` is for start-up and asks little; `examine` is for the doctor. A refusal to tell is an answer: None.
What it all means is `fitness.py` and `readiness.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from contracts.errors import Corrupt, ErrorCode, Misuse, Unavailable
from orch.ports import Clock
from orch.store.connection import CALL_DEADLINE_MS, Connection
from orch.store.fitness import Config, Info
from orch.store.library import library

OWN_USERS: Final = "orch-"
"""How the users of ops/redis/users.acl begin. They may not ask CONFIG, which also shows passwords: asking
would only fill the server's ACL LOG."""
_LOOK_MS: Final = 100
_SETTINGS: Final = ("appendfsync", "hash-max-listpack-value", "maxmemory-policy", "appendonly")


@dataclass(frozen=True, slots=True)
class Examined:
    """What one server said."""

    info: Info
    config: Config
    user: str | None
    """Who we are there; None where even that is not told."""
    skew_ms: int
    """How far its clock is ahead of ours."""
    doubt_ms: int
    """The answer took so long: the skew is only known that well."""
    libraries: tuple[str, ...] | None
    """Of Orch, by name."""

    @property
    def wanted_library(self) -> str:
        """That of this version."""
        return library().name


def ungreeted(
    url: str, clock: Clock, *, shard: int = 0, deadline_ms: int = CALL_DEADLINE_MS
) -> Connection:
    """A connection that writes nothing of ours; to be closed."""
    return Connection(url, clock, shard=shard, deadline_ms=deadline_ms, greets=False)


async def meet(connection: Connection) -> tuple[Info, Config]:
    """What `fitness.judge` wants to know.

    Raises:
        Unavailable: it does not answer now.
        Misuse: it refuses the user, or is no server for Orch.
    """
    info = await _info(connection)
    return info, await _config(connection, await _user(connection))


async def examine(connection: Connection) -> Examined:
    """What `readiness.judge_server` wants to know; raises as `meet`."""
    info = await _info(connection)
    user = await _user(connection)
    skew_ms, doubt_ms = await _skew(connection)
    return Examined(
        info=info,
        config=await _config(connection, user),
        user=user,
        skew_ms=skew_ms,
        doubt_ms=doubt_ms,
        libraries=await _libraries(connection, user),
    )


async def _info(connection: Connection) -> Info:
    """Once it has read its data: until then it says of itself that it keeps nothing."""
    until_ms = connection.clock.monotonic_ms() + connection.deadline_ms
    while True:
        info: Info = await connection.execute("INFO")
        if not int(info.get("loading", 0)):
            return info
        if connection.clock.monotonic_ms() >= until_ms:
            raise Unavailable(ErrorCode.UNAVAILABLE, "the server is reading its data")
        await connection.clock.sleep_ms(_LOOK_MS)


async def _user(connection: Connection) -> str | None:
    said = await _if_told(connection, "ACL", "WHOAMI")
    return None if said is None else str(said)


async def _config(connection: Connection, user: str | None) -> Config:
    if user is not None and user.startswith(OWN_USERS):
        return None
    found: dict[str, str] = {}
    for name in _SETTINGS:
        said = await _if_told(connection, "CONFIG", "GET", name)
        if said is None:
            return None
        found |= _pairs(said)
    return found


def _pairs(said: Any) -> dict[str, str]:
    pairs = said if isinstance(said, Mapping) else dict(zip(said[::2], said[1::2], strict=True))
    return {str(key): str(value) for key, value in pairs.items()}


async def _skew(connection: Connection) -> tuple[int, int]:
    """From the middle of the question; asked twice, for the first may have opened the socket."""
    best = (0, 0)
    for n in range(2):
        began_ms, asked_ms = connection.clock.monotonic_ms(), connection.clock.wall_ms()
        seconds, micros = await connection.execute("TIME")
        took_ms = connection.clock.monotonic_ms() - began_ms
        skew_ms = int(seconds) * 1000 + int(micros) // 1000 - (asked_ms + took_ms // 2)
        if n == 0 or took_ms <= best[1]:
            best = (skew_ms, took_ms)
    return best


async def _libraries(connection: Connection, user: str | None) -> tuple[str, ...] | None:
    if user is not None and user.startswith(OWN_USERS):
        return None
    said = await _if_told(connection, "FUNCTION", "LIST", "LIBRARYNAME", "orch_*")
    return None if said is None else tuple(sorted(_pairs(one)["library_name"] for one in said))


async def _if_told(connection: Connection, *command: str) -> Any:
    # Forbidden, renamed, or a provider's own words for it.
    with suppress(Misuse, Corrupt):
        return await connection.execute(*command)
    return None
