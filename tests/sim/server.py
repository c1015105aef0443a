"""One simulated server and the wires to it: what a client of redis-py would meet, decided by the seed.

A message takes its time, gets lost on either way (a lost reply was executed), arrives late, after its sender
has given up, or twice. A process can be cut off, the server can freeze, die and come back with all its data
or with an earlier state of them. Blocking reads wait here, first come, first served, as in Redis.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.sim.backend import Backend, MakeBackend
from tests.sim.history import History
from tests.sim.loop import Process, SimLoop, Thread, context_of, thread_of
from tests.sim.timers import Deadlines

EPOCH_MS = 1_750_000_000_000
RARE = {"bury", "register", "leave", "decide", "cancel", "pause", "resume", "answer"}
"""Verbs so seldom that they would hardly ever meet a fault: four times as likely here."""
MESSAGE_FAULTS = ("lost_request", "lost_reply", "late", "double")
"""In the order of their draw; only function calls are sent twice."""
WRITES = {"FCALL", "XADD", "FUNCTION"}
Command = list[str | int | float]


@dataclass
class Rates:
    """How often a message meets which fault."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0
    double: float = 0.0
    latency_ms: float = 0.3


class Link:
    """The network of one process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.cut = ""
        """`hole`: packets vanish; `reset`: connections break at once."""
        self.held: list[Callable[[], None]] = []
        """What the kernel sends again once the cut is over."""


@dataclass(slots=True)
class Socket:
    """One connection; it breaks with the server it was made to."""

    generation: int


class Message:
    """One command under way."""

    gone: bool = False
    """Its sender no longer waits: it has the reply, gave up, or was canceled and closed the socket."""
    streams: Sequence[str] = ()
    marks: Sequence[object] = ()
    """Of a blocked read: its streams, and how they stood when it last looked."""
    heard: Callable[[], None] | None = None
    """Called when its sender goes on with the reply."""
    lose_reply: bool = False
    reply_late_s: float = 0.0

    def __init__(
        self,
        link: Link,
        socket: Socket,
        command: Command,
        verb: str,
        block_ms: int | None,
        timeout_s: float,
        future: asyncio.Future[Any],
        context: contextvars.Context,
    ) -> None:
        self.link = link
        self.socket = socket
        self.command = command
        self.verb = verb
        """The function it calls, if it does."""
        self.block_ms = block_ms
        self.timeout_s = timeout_s
        self.future = future
        self.context = context
        self.thread = thread_of(context)

    @property
    def is_open(self) -> bool:
        """Its sender lives and waits, and has no answer."""
        return not (self.gone or self.thread.process.dead or self.future.done())

    def succeed(self, reply: Any) -> None:
        """The reply is there."""
        if not self.future.done():
            if isinstance(reply, Exception):
                self.future.set_exception(reply)
            else:
                self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """The socket broke."""
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self) -> None:
        """The time is up."""
        self.fail(RedisTimeoutError("Timeout reading from socket"))


def split_block(command: Command) -> tuple[Command, int | None]:
    """A reading command without its BLOCK, and that."""
    if command[0] in {"XREADGROUP", "XREAD"} and "BLOCK" in command:
        at = command.index("BLOCK")
        return command[:at] + command[at + 2 :], int(command[at + 1])
    return command, None


def streams_of(command: Command) -> list[str]:
    """The keys that a reading command names."""
    rest = command[command.index("STREAMS") + 1 :]
    return [str(name) for name in rest[: len(rest) // 2]]


class SimServer:
    """The server and the network."""

    def __init__(
        self, loop: SimLoop, make: MakeBackend, seed: str, rates: Rates, history: History
    ) -> None:
        self.loop = loop
        self.rates = rates
        self.history = history
        self.offset_ms = 0
        """How far its clock is off."""
        self.backend: Backend = make(self.wall_ms)
        self.generation = 1
        self.up = True
        self.commands = 0
        self.last_arrival_s = 0.0
        """When the last of all packets that are under way will be there."""
        self.on_executed: Callable[[Message], None] = lambda _message: None
        self._rng = Random(f"{seed}/network")
        self._random = self._rng.random
        self._deadlines: dict[float, Deadlines] = {}
        self._frozen = False
        self._backlog: list[Callable[[], None]] = []
        self._waiting: dict[Message, None] = {}
        self._killed = 0
        self._grown = 0
        """What loop and backend had counted when the waiting were last looked through."""
        self._open: dict[Message, None] = {}
        self._thread = Thread(Process("server"))
        self._context = context_of(self._thread)
        self._new_run()

    def wall_ms(self) -> int:
        """What TIME answers."""
        return EPOCH_MS + int(self.loop.now * 1000) + self.offset_ms

    def deadlines(self, length_s: float) -> Deadlines:
        """Of all messages that are given so long."""
        return self._deadlines.setdefault(length_s, Deadlines(length_s))

    # -- the wire

    def send(self, message: Message) -> None:
        """A client wrote a command; the seed decides what becomes of it."""
        self._open[message] = None
        link = message.link
        if link.cut == "reset":
            self._break(message)
            return
        if link.cut == "hole":
            if self._rng.random() < 0.3:
                link.held.append(partial(self._arrive, message))
            return
        delay_s = self.latency_s()
        fate = self._fate(message)
        if not fate:
            self._at(delay_s, self._arrive, message)
            return
        match fate:
            case "lost_request":
                self._lose(message)
                return
            case "late":
                late_s = self._rng.uniform(0.1, 2.5) * min(message.timeout_s, 5.0)
                if self._rng.random() < 0.5:
                    delay_s += late_s
                else:
                    message.reply_late_s = late_s / 2
            case "lost_reply":
                message.lose_reply = True
            case "double":
                again_s = delay_s + self._rng.expovariate(1.0)
                self._at(again_s, self._arrive_again, message)
            case _:
                pass
        self._at(delay_s, self._arrive, message)

    def _fate(self, message: Message) -> str:
        rates, roll = self.rates, self._random()
        if message.verb in RARE:
            roll /= 4
        if roll > rates.lost_request + rates.lost_reply + rates.late + rates.double + 1e-9:
            return ""  # more than all together; a little more, for sums are not exact
        for kind in MESSAGE_FAULTS if message.verb else MESSAGE_FAULTS[:-1]:
            rate = getattr(rates, kind)
            if roll < rate:
                self.history.faults[kind] += 1
                return kind
            roll -= rate
        return ""

    def latency_s(self) -> float:
        """How long the next packet takes."""
        # As Random.expovariate, without its call.
        return -log(1.0 - self._random()) / (1000 / self.rates.latency_ms)

    def _at(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        arrival_s = self.loop.now + delay_s
        self.last_arrival_s = max(self.last_arrival_s, arrival_s)
        self.loop.push(delay_s, self._thread, self._context, act, *args)

    def _lose(self, message: Message) -> None:
        # Half of what is lost is lost in silence, until the sender's timeout.
        if self._rng.random() < 0.5:
            self._break(message)

    def _break(self, message: Message) -> None:
        self._to_client(message, message.fail, RedisConnectionError("Connection reset by peer"))

    def _to_client(self, message: Message, act: Callable[..., None], *args: Any) -> None:
        # As latency_s: most packets are replies.
        delay_s = -log(1.0 - self._random()) / (1000 / self.rates.latency_ms)
        self.loop.push(delay_s, message.thread, message.context, act, *args)

    def heal(self, link: Link) -> None:
        """The cut is over."""
        link.cut = ""
        held, link.held = link.held, []
        for act in held:
            self._at(self.latency_s(), act)

    # -- the server

    def _arrive(self, message: Message) -> None:
        if message.socket.generation != self.generation:
            return
        if self._frozen:
            self._backlog.append(partial(self._arrive, message))
            return
        if message.block_ms is not None and (message.gone or message.link.process.dead):
            return
        reply = self._carry_out(message)
        if reply is None and message.block_ms is not None:
            self._park(message)
            return
        self._reply(message, reply)
        if message.command[0] in WRITES:
            # Most calls are beats, and nobody waits for what they write.
            self._serve_waiting(grown=message.verb != "beat")

    def _arrive_again(self, message: Message) -> None:
        if message.socket.generation == self.generation and not self._frozen:
            self._carry_out(message)
            self._serve_waiting()

    def _carry_out(self, message: Message) -> Any:
        self.commands += 1
        try:
            reply = self.backend.execute(message.command)
        except ResponseError as error:
            reply = error
        if reply == [] and message.block_ms is not None:
            reply = None  # fakeredis: an XREAD that finds nothing; taken for an answer, nobody ever waits
        self.history.executed(message.link.process.name, message.command, reply, message.verb)
        self.on_executed(message)
        return reply

    def _reply(self, message: Message, reply: Any) -> None:
        cut = message.link.cut
        if not (cut or message.lose_reply or message.reply_late_s):
            self._to_client(message, message.succeed, reply)
        elif message.lose_reply:
            self._lose(message)
        elif cut == "reset":
            self._break(message)
        elif cut == "hole":
            message.link.held.append(partial(self._to_client, message, message.succeed, reply))
        else:
            self._at(message.reply_late_s, self._to_client, message, message.succeed, reply)

    def _park(self, message: Message) -> None:
        message.streams = streams_of(message.command)
        self.backend.watch(message.streams)
        message.marks = [self.backend.mark(name) for name in message.streams]
        self._waiting[message] = None
        assert message.block_ms is not None
        block_s = message.block_ms / 1000
        self.loop.call_later(block_s, self._block_over, message, context=self._context)

    def _block_over(self, message: Message) -> None:
        if self._frozen:
            self._backlog.append(partial(self._block_over, message))
        elif message in self._waiting:
            del self._waiting[message]
            self._reply(message, None)

    def _serve_waiting(self, *, grown: bool = True) -> None:
        """After a command; `grown`, when streams may have got entries by it."""
        if self._killed != self.loop.killed:
            self._killed = self.loop.killed
            for message in list(self._waiting):
                if message.link.process.dead:
                    del self._waiting[message]
        # Readers that came since the last time looked at their streams themselves.
        if grown and self._grown != self.backend.grown:
            self._grown = self.backend.grown
            for message in list(self._waiting):
                if message.link.process.dead:  # killed as it was served, or one before it
                    del self._waiting[message]
                else:
                    self._serve(message)

    def _serve(self, message: Message) -> None:
        marks = [self.backend.mark(name) for name in message.streams]
        if marks == message.marks:
            return
        message.marks = marks
        reply = self._carry_out(message)
        if reply is not None:
            del self._waiting[message]
            self._reply(message, reply)

    def let_go(self, message: Message) -> None:
        """The sender waits no longer."""
        message.gone = True
        self._waiting.pop(message, None)
        self._open.pop(message, None)

    # -- what happens to the server

    def _new_run(self) -> None:
        self.backend.run_id = f"{self._rng.getrandbits(160):040x}"

    def freeze(self) -> None:
        """SIGSTOP; its clock and its sockets' buffers go on."""
        self._frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self._frozen = False
        backlog, self._backlog = self._backlog, []
        for act in backlog:
            act()

    def crash(self) -> None:
        """kill -9: every socket breaks."""
        self.up = False
        self.generation += 1
        self._backlog.clear()
        self._waiting.clear()
        for message in list(self._open):
            self._break(message)

    def start(self, *, snapshot: object = None, functions_lost: bool = False) -> None:
        """A new run, with all data or those of a snapshot."""
        if snapshot is not None:
            self.backend.restore(snapshot)
        if functions_lost:
            self.backend.forget_functions()
        self._new_run()
        self.up = True
