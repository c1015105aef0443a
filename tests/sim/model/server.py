"""One server: its data, its run, its functions, and who is blocked on it.

A command is carried out at once and whole; latency, lost replies and partitions are the harness's. What a
real server does to its clients when it stops is done here: pending reads fail, the next run has another id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import anyio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from orch.store.library import flags, library, source
from tests.sim.model import (
    admission,
    claims,
    control,
    hooks,
    instances,
    outcomes,
    repair,
    schedules,
    steering,
    surveys,
    timers,
    turns,
)
from tests.sim.model.call import Call, Reply
from tests.sim.model.commands import COMMANDS, REFUSED_WHEN_FULL
from tests.sim.model.keyspace import Keyspace
from tests.sim.model.reading import Read, parse_read

Verb = Callable[[Call, Sequence[str]], Reply]

VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        verb.__name__: verb
        for verb in (
            admission.admit,
            admission.refuse,
            admission.overflow,
            admission.replay,
            claims.cycle,
            claims.emit,
            claims.note,
            claims.reclaim,
            control.acknowledge,
            control.apply,
            control.proceed,
            control.push,
            hooks.collect,
            hooks.deliver,
            hooks.hook,
            hooks.post,
            instances.beat,
            instances.bury,
            instances.declare,
            instances.hello,
            instances.leave,
            instances.register,
            repair.realign,
            repair.recount,
            repair.repair,
            outcomes.announce,
            outcomes.decide,
            schedules.fire,
            schedules.schedule,
            schedules.unschedule,
            steering.answer,
            steering.cancel,
            steering.pause,
            steering.resume,
            surveys.census,
            surveys.survey,
            timers.due,
            timers.retire,
            timers.unready,
            turns.dispatch,
        )
    }
)
assert set(VERBS) == set(library().verbs), (
    "the model has every function of the library and no other"
)

_ALLOWED_WHEN_FULL = frozenset(verb for verb in VERBS if "allow-oom" in flags(source(verb)))


@dataclass(eq=False, slots=True)
class Waiter:
    """A client that is blocked on streams."""

    read: Read
    done: anyio.Event = field(default_factory=anyio.Event)
    reply: list[Any] = field(default_factory=list)
    error: RedisError | None = None


class ModelServer:
    """A server of one or more shards."""

    def __init__(
        self,
        clock: Callable[[], int],
        run_id: str,
        *,
        verbs: Mapping[str, Verb] = VERBS,
        call: type[Call] = Call,
    ) -> None:
        self.space = Keyspace(clock)
        self.run_id = run_id
        self.session = 0
        """Grows with every restart: a client of an older session must connect anew."""
        self.full = False
        """Without memory: writes are refused but those of functions that must go on."""
        self.stopped = False
        """Nobody answers."""
        self.has_functions = False
        self._functions = {library().function(name): verbs[name] for name in verbs}
        self._call = call
        self._waiters: dict[Waiter, None] = {}

    # -- the data as they are

    def hash(self, name: str) -> Mapping[str, str]:
        """A hash by its full key name, for checkers; empty when there is none."""
        return self.space.hash(name)

    def snapshot(self) -> bytes:
        """The data now: what a backup or an older AOF would hold."""
        return self.space.snapshot()

    def restore(self, snapshot: bytes) -> None:
        """The data as they were; a real server can do so only by starting anew, so see `restart`."""
        self.space.restore(snapshot)

    # -- the run

    def stop(self) -> None:
        """Pending reads fail, and nothing is answered until `restart`."""
        self.stopped = True
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            waiter.error = RedisConnectionError("Connection closed by server.")
            waiter.done.set()

    def restart(self, run_id: str, snapshot: bytes | None = None) -> None:
        """Another run, with the data as they are or rolled back to `snapshot`."""
        self.stop()
        if snapshot is not None:
            self.restore(snapshot)
        self.run_id = run_id
        self.session += 1
        self.stopped = False

    # -- commands

    def execute(self, *command: str | int | float) -> Any:
        """Carries out one command that does not wait, then serves whoever it unblocked.

        Raises:
            RedisError: as redis-py would.
        """
        if self.stopped:
            self.check_reachable()
        name, *words = map(str, command)
        try:
            if name == "FCALL":
                return self._call_function(words[0], words[2], words[3:])
            return self._carry_out(name.upper(), words)
        finally:
            if self.space.signaled:
                self._serve()

    def check_reachable(self) -> None:
        """Raises: ConnectionError, when it is stopped."""
        if self.stopped:
            raise RedisConnectionError("Connection refused.")

    def _carry_out(self, name: str, words: Sequence[str]) -> Any:
        if name == "FCALL":
            return self._call_function(words[0], words[2], words[3:])
        if name == "FUNCTION":
            return self._change_functions(words[0].upper(), words[-1])
        if name == "CONFIG":
            return self._configure(*words)
        if name == "INFO":
            return {"run_id": self.run_id, "redis_version": "7.2.4"}
        if name in {"XREAD", "XREADGROUP"}:
            return parse_read(self.space, [name, *words]).read(self.space)
        command = COMMANDS.get(name)
        assert command is not None, f"the model knows no command {name}"
        if self.full and name in REFUSED_WHEN_FULL:
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        return command(self.space, *words)

    def _call_function(self, function: str, shard: str, argv: Sequence[str]) -> Reply:
        verb = self._functions.get(function) if self.has_functions else None
        if verb is None:
            raise ResponseError("Function not found")
        if self.full and function.rpartition("_")[0] not in _ALLOWED_WHEN_FULL:
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        return verb(self._call(self.space, shard, self.run_id), argv)

    def _change_functions(self, what: str, code: str) -> str:
        if what == "FLUSH":
            self.has_functions = False
            return "OK"
        assert what == "LOAD", f"the model knows no FUNCTION {what}"
        # Looked for in place: a library is long, and every process loads it again and again.
        at = code.index("name=") + len("name=")
        name = code[at : code.index("\n", at)]
        # A foreign library stands beside ours; one of our name takes its place, without our functions.
        if name == library().name:
            self.has_functions = code == library().code
        return name

    def _configure(self, verb: str, setting: str, value: str = "") -> Any:
        assert setting == "maxmemory", f"the model has no setting {setting}"
        if verb.upper() == "SET":
            self.full = value != "0"
            return "OK"
        return [setting, "1" if self.full else "0"]

    # -- blocked readers

    def wait(self, read: Read) -> Waiter:
        """Queues a read that found nothing behind those that already wait."""
        waiter = Waiter(read)
        self._waiters[waiter] = None
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Its client is gone: it gets nothing any more."""
        self._waiters.pop(waiter, None)

    def _serve(self) -> None:
        signaled, self.space.signaled = self.space.signaled, {}
        for waiter in list(self._waiters):
            if not signaled.keys().isdisjoint(waiter.read.names):
                self._serve_one(waiter)

    def _serve_one(self, waiter: Waiter) -> None:
        try:
            waiter.reply = waiter.read.read(self.space)
        except RedisError as error:
            waiter.error = error
        if waiter.reply or waiter.error:
            self.forget(waiter)
            waiter.done.set()
