"""The switch `--timeouts N`: N of a hundred calls of Orch are carried out and then get no answer.

It reaches every server that tests start, also those of real stacks: the programs `valkey-server` and
`redis-server` on PATH are replaced by ones that put a faulty link in front of the real server. So no product
code knows of it. Engines in memory get a client that forgets answers. What only tests send is spared: it is
not repeated, and often must not be.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
from redis.exceptions import TimeoutError as RedisTimeoutError

from orch.store.connection import Connection
from orch.store.engine import engines
from orch.store.library import library
from tests.store.faulty import RESET_AFTER, Fault, FaultyLink, Plan, Words

ROOT: Final = Path(__file__).resolve().parents[2]
OURS: Final = frozenset(
    "FCALL FUNCTION PING HGETALL HMGET HGET HLEN EXISTS XRANGE XREVRANGE "
    "XPENDING XREAD ZRANGE SMEMBERS LPOS LLEN".split()
)
"""What Orch sends whatever happens; two more commands only in one form, see `is_ours`."""
_PDEATHSIG: Final = 1

_PROGRAM: Final = """#!{python}
import os, sys
if "--version" in sys.argv:
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
sys.path.insert(0, {root!r})
from tests.store.injection import Injection, become_server
become_server({real!r}, sys.argv[1:], Injection({percent!r}, {seed!r}, {folder!r}))
"""


def is_ours(words: Words) -> bool:
    """Whether Orch sends this, and not only a test."""
    name = words[0].decode().upper()
    return (
        name in OURS
        or (name == "XREADGROUP" and b"BLOCK" in words)
        or (name == "XADD" and b":wake:" in words[1])
    )


@dataclass(slots=True)
class Injection:
    """How many of a hundred, from which seed; `folder` holds the programs and what they count."""

    percent: float
    seed: int
    folder: str
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed + self._starts())

    def strikes(self) -> bool:
        """Whether this answer is lost; counted."""
        if self.dice.random() * 100 >= self.percent or self._pause.exists():
            return False
        self._count("losses")
        return True

    @property
    def losses(self) -> int:
        """Answers lost so far, by all processes."""
        return self._size("losses")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is lost meanwhile."""
        self._pause.touch()
        try:
            yield
        finally:
            self._pause.unlink()

    @property
    def _pause(self) -> Path:
        return Path(self.folder) / "paused"

    def install(self) -> None:
        """Puts programs on PATH that are servers with a faulty link."""
        for engine in {engine.name: engine for engine in reversed(list(engines()))}.values():
            program = Path(self.folder) / f"{engine.name}-server"
            words = {"python": sys.executable, "real": str(engine.path), "root": str(ROOT)}
            program.write_text(
                _PROGRAM.format(**words, percent=self.percent, seed=self.seed, folder=self.folder)
            )
            program.chmod(0o755)
        os.environ["PATH"] = f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def _starts(self) -> int:
        self._count("starts")
        return self._size("starts")

    def _count(self, what: str) -> None:
        with (Path(self.folder) / what).open("ab") as counted:
            counted.write(b".")

    def _size(self, what: str) -> int:
        path = Path(self.folder) / what
        return path.stat().st_size if path.exists() else 0


def plan_of_socket(injection: Injection) -> Plan:
    """A socket is Orch's from its first function call on; before, it may be a test's."""
    orchs = False

    def plan(words: Words) -> Fault | None:
        nonlocal orchs
        orchs = orchs or words[0] == b"FCALL"
        return RESET_AFTER if orchs and is_ours(words) and injection.strikes() else None

    return plan


def become_server(real: str, argv: Sequence[str], injection: Injection) -> NoReturn:
    """Runs the real server in this process, and a child that answers on its socket in its place."""
    front = _socket_of(Path(argv[0])) if argv and Path(argv[0]).is_file() else None
    if front is None:
        os.execv(real, [real, *argv])
    name = hashlib.sha256(os.fsencode(front)).hexdigest()[:12]
    behind = Path(injection.folder) / f"{name}.sock"
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        os.closerange(3, 256)  # the lock of the home is the server's
        os.umask(0o077)  # its socket is the owner's alone, as the server's would be
        os.chdir("/")
        link = FaultyLink(front, str(behind), plan_of_socket=lambda: plan_of_socket(injection))
        anyio.run(link.listen)
        os._exit(0)
    os.execv(real, [real, *argv, "--unixsocket", str(behind)])


def _socket_of(config: Path) -> Path | None:
    for line in config.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "unixsocket":
            text = value.strip('"').encode()
            return Path(os.fsdecode(text.decode("unicode_escape").encode("latin-1")))
    return None


class Forgetful:
    """A client of an engine in memory that carries commands out and forgets some answers."""

    def __init__(self, client: Any, injection: Injection) -> None:
        self._client = client
        self._injection = injection

    async def execute_command(self, *command: Any) -> Any:
        """As redis-py's, but for the answer that never came."""
        reply = await self._client.execute_command(*command)
        words = [str(word).encode(errors="surrogateescape") for word in command]
        if is_ours(words) and self._injection.strikes():
            raise RedisTimeoutError("the test lost the answer")
        return reply

    async def aclose(self, **options: Any) -> None:
        """Closes the client."""
        await self._client.aclose(**options)


def make_forgetful(connection: Connection, injection: Injection) -> None:
    """Lets a connection to an engine in memory forget answers."""
    make: Callable[[int], Any] = connection._make
    connection._make = lambda timeout_ms: Forgetful(make(timeout_ms), injection)  # type: ignore[assignment]  # a stand-in for the client
    connection._commands = Forgetful(connection._commands, injection)  # type: ignore[assignment]  # a stand-in for the client


class LosesOne:
    """A client that loses the answer to the next call of one function; before its caller asks again, somebody
    else acts."""

    def __init__(self, client: Any, verb: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._call = ("FCALL", library().function(verb))
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    @property
    def has_lost(self) -> bool:
        """Whether it has."""
        return self._meanwhile is None

    async def execute_command(self, *command: Any) -> Any:
        """As redis-py's, but for the one answer."""
        reply = await self._client.execute_command(*command)
        if command[:2] != self._call or self._meanwhile is None:
            return reply
        meanwhile, self._meanwhile = self._meanwhile, None
        await meanwhile()
        raise RedisTimeoutError("the test lost the answer")


@contextmanager
def lost_answer(
    connection: Connection, verb: str, meanwhile: Callable[[], Awaitable[None]]
) -> Iterator[None]:
    """The next call of `verb` is carried out, gets no answer and comes again, after `meanwhile`."""
    client: Any = connection._commands
    loses = LosesOne(client, verb, meanwhile)
    connection._commands = loses  # type: ignore[assignment]  # a stand-in for the client
    try:
        yield
    finally:
        connection._commands = client
    assert loses.has_lost, f"{verb} was not called"
