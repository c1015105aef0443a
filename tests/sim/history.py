"""What happened in a run: every call as its sender saw it, and as the server carried it out.

A call is invoked and returned, or nobody knows what became of it: then it may have happened at any later
time, or never. What the server carried out, in its order, tells which claims were granted and buried when;
with that an agent that acts too late is found at the moment it acts.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

ENDING_ARGS = 6
CYCLE_ARGS = 8
TRACE_LINES = 400
ARGS_CHARS, REPLY_CHARS = 160, 200
"""So much of a call is told in the trace."""


@cache
def _verb(function: str) -> str:
    return function.rpartition("_")[0]


def verb_of(command: Sequence[Any]) -> str:
    """Which of our functions a command calls; empty for one of Redis' own."""
    return _verb(command[1]) if command[0] == "FCALL" else ""


def offers_in(reply: list[Any] | dict[str, Any]) -> Iterator[dict[str, str]]:
    """What a read of an inbox brought that hands a job over, as one or the other tier answers."""
    streams = reply.items() if isinstance(reply, dict) else reply
    for _, entries in streams:
        for _, fields in entries:
            words = (
                fields
                if isinstance(fields, dict)
                else dict(zip(fields[::2], fields[1::2], strict=True))
            )
            if words.get("what") == "offer":
                yield words


@dataclass(slots=True)
class Call:
    """One message to the server and what its sender learned."""

    number: int
    process: str
    verb: str
    args: list[Any]
    invoked_at: float
    returned_at: float | None = None
    reply: Any = None

    def endings(self) -> Iterator[tuple[str, str, str, str]]:
        """Of a cycle: verb, job id, claim and the verdict (empty when it is not known)."""
        count = int(self.args[CYCLE_ARGS - 1])
        verdicts = self.reply[3] if self.answered and self.reply[0] == "ok" else [""] * count
        for n in range(count):
            verb, job_id, claim = self.args[CYCLE_ARGS + n * ENDING_ARGS :][:3]
            yield verb, job_id, claim, verdicts[n]

    def offers(self) -> list[tuple[str, str]]:
        """Of a cycle: job id and claim of what it brought, as far as the sender knows."""
        if not self.answered or self.reply[0] != "ok":
            return []
        return [(offer[0], offer[1]) for offer in self.reply[4]]

    @property
    def answered(self) -> bool:
        """Whether the sender got a reply that is no error."""
        return self.returned_at is not None and isinstance(self.reply, list)


@dataclass(slots=True)
class Submission:
    """One job as a producer meant it; its mark stands in the spec."""

    mark: str
    door: str
    acked_job: str | None = None
    acked_at: float = 0.0
    refused: bool = False
    queued_at: float | None = None
    """When the server acknowledged a raw request: from then on it must become a job or get a refusal."""


@dataclass
class History:
    """Everything that the checkers need."""

    now: Callable[[], float]
    attempts_max: int = 3
    traced: bool = True
    """Whether somebody will read the trace; a run that fails is repeated for it."""
    calls: list[Call] = field(default_factory=list)
    submissions: dict[str, Submission] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    sometimes: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str]] = field(default_factory=list)
    """Kind (lost, double, undetected, orphan, stuck, broken) and what was found."""
    holder: dict[str, str] = field(default_factory=dict)
    """Claim -> the instance it was granted to."""
    granted: dict[str, float] = field(default_factory=dict)
    """Claim -> when; of one that was handed over: not before."""
    handed: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    """Claim -> job id, the instance it was handed to while that rested, and when that could know of it."""
    rested: dict[str, float] = field(default_factory=dict)
    """Instance -> its last cycle: it was handed nothing before."""
    buried: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Instance -> when it was buried: more than once, if it was slow to hear of it and registered again."""
    writes: list[tuple[float, str, str]] = field(default_factory=list)
    """(when it was acknowledged, process, verb) of calls that the sender knows were carried out."""
    lines: list[str] = field(default_factory=list)
    """The trace."""

    def trace(self, line: str) -> None:
        """One line of the run."""
        if self.traced:
            self.lines.append(f"{self.now():10.4f} {line}")

    @property
    def tail(self) -> list[str]:
        """How the run ended."""
        return self.lines[-TRACE_LINES:]

    @property
    def digest(self) -> str:
        """Of the whole trace."""
        return hashlib.sha256("".join(self.lines).encode()).hexdigest()

    def violation(self, kind: str, what: str) -> None:
        """A promise was broken."""
        self.trace(f"VIOLATION {kind}: {what}")
        self.violations.append((kind, what))

    # -- the senders' side

    def invoked(self, process: str, command: list[Any]) -> Call:
        """A sender wrote a function call; beats are not kept: most calls are."""
        call = Call(len(self.calls), process, verb_of(command), command[4:], self.now())
        self.calls.append(call)
        return call

    def returned(self, call: Call | None, reply: Any) -> None:
        """It got an answer."""
        if call is not None:
            call.returned_at = self.now()
            call.reply = reply

    # -- the server's side

    def executed(
        self, process: str, command: list[Any], reply: Any, verb: str | None = None
    ) -> None:
        """The server carried a command out."""
        if verb is None:
            verb = verb_of(command)
        if self.traced:
            self._tell(process, verb, command, reply)
        if not verb:
            self._read(command, reply)
            return
        if not isinstance(reply, list) or reply[0] != "ok":
            if isinstance(reply, Exception) and "unction not found" not in str(reply):
                self.violation("broken", f"{verb} answered {reply!r}")
            return
        match verb:
            case "cycle":
                runner = command[4]
                for offer in reply[4]:
                    self.holder[offer[1]] = runner
                    self.granted.setdefault(offer[1], self.now())
                if reply[5]:
                    self._handed(runner, *reply[5][:2])
                self.rested[runner] = self.now()
            case "bury":
                self.buried[command[4]].append(self.now())
                self.sometimes["buried"] += 1
                self.sometimes["lost a job"] += int(reply[3]) > 0
            case _:
                pass

    def _read(self, command: list[Any], reply: Any) -> None:
        if command[:3] == ["XREADGROUP", "GROUP", "runners"] and isinstance(reply, list | dict):
            for offer in offers_in(reply):
                self._handed(command[3], offer["job"], offer["claim"])

    def _handed(self, runner: str, job_id: str, claim: str) -> None:
        self.sometimes["handed over"] += claim not in self.handed
        self.handed.setdefault(claim, (job_id, runner, self.now()))
        self.holder[claim] = runner
        self.granted.setdefault(claim, self.rested.get(runner, 0.0))

    def _tell(self, process: str, verb: str, command: list[Any], reply: Any) -> None:
        said = " ".join(map(str, command[4:]))[:ARGS_CHARS]
        what = f"{verb} {said} ->" if verb else command[0]
        self.trace(f"{process} {what} {str(reply)[:REPLY_CHARS]}")

    def undone(self, since: float) -> None:
        """The server's data went back to that time: burials after it did not happen."""
        for name, times in self.buried.items():
            self.buried[name] = [at for at in times if at < since]

    def acted(self, claim: str) -> None:
        """An agent did something to the world."""
        granted = self.granted.get(claim, 0.0)
        for died in self.buried.get(self.holder.get(claim, ""), ()):
            if died >= granted:
                late_ms = round((self.now() - died) * 1000)
                what = f"the agent of {claim} acted {late_ms} ms after its burial"
                self.violation("double", what)
                return
