"""A runner's side of the store: one call that delivers endings and brings new claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from contracts.errors import ErrorCode, Misuse, Refused
from contracts.events import EventType, payload_faults
from contracts.limits import BATCH_ITEMS_MAX, WAKE_TOKENS_MAX
from orch.core.handover import ClaimEnding, Cycled, Gone, Offer, Working
from orch.core.ledger import TAKEN, parse_ledger
from orch.core.scheduling import SchedulingPolicy
from orch.core.tracing import MARK, split_carried
from orch.store.connection import Connection

_NOTED = frozenset(EventType) - {EventType.STATUS_CHANGED}
_HANDED = "job claim attempt spec progress answer wish outs epoch waited class".split()


class Claims:
    """Claims of one pool."""

    def __init__(self, connection: Connection, policy: SchedulingPolicy) -> None:
        self._connection = connection
        self._policy = policy.text()

    async def cycle(
        self,
        runner: str,
        pool: str,
        *,
        number: int,
        free: int,
        random: str,
        endings: Sequence[ClaimEnding],
        heard: int | None = None,
    ) -> Cycled | None:
        """Delivers endings and claims up to `free` jobs; the same `number` gives the same jobs again.

        `heard` is the newest epoch that the runner was told of in its inbox, 0 for none: with room left it
        may be handed a job there; None, never.

        None: nothing was done, the server came back and wants `reclaim` first.

        Raises:
            Refused: LEASE_OVER, the runner was buried: nothing was accepted, every claim is over.
            Unavailable: not reached; call again with the same number and endings.
        """
        flat: list[str | int] = []
        for verb, job_id, claim, payload, data, expires_in_ms in endings:
            flat += (verb, job_id, claim, orjson.dumps(payload).decode(), data, expires_in_ms)
        reply = await self._connection.call(
            "cycle",
            runner,
            pool,
            number,
            free,
            random,
            self._policy,
            "" if heard is None else heard,
            len(endings),
            *flat,
        )
        if reply[0] == "runner_over":
            raise Refused(ErrorCode.LEASE_OVER, f"runner {runner} was buried")
        if reply[0] == "recalled":
            return None
        return Cycled(list(reply[1]), [_offer(item) for item in reply[2]], _handed(reply[3]))

    async def reclaim(self, runner: str, pool: str, working: Sequence[Working]) -> list[bool]:
        """Tells a server that came back what this runner works on; whether each claim is in force (again).

        Raises:
            Refused: LEASE_OVER, the runner was buried.
            Unavailable: not reached; call again.
        """
        verdicts: list[str] = []
        for at in range(0, max(1, len(working)), BATCH_ITEMS_MAX):
            batch = working[at : at + BATCH_ITEMS_MAX]
            flat = [word for one in batch for word in _words(one)]
            more = int(at + BATCH_ITEMS_MAX < len(working))
            reply = await self._connection.call("reclaim", runner, pool, more, len(batch), *flat)
            if reply[0] == "runner_over":
                raise Refused(ErrorCode.LEASE_OVER, f"runner {runner} was buried")
            verdicts += reply[1]
        return [verdict == "ok" for verdict in verdicts]

    async def held(self, runner: str) -> dict[str, str]:
        """What the server thinks this runner holds: job id -> claim."""
        found: dict[str, str] = await self._connection.execute(
            "HGETALL", self._connection.keys.held(runner)
        )
        return found

    async def is_over(self, job_id: str, claim: str) -> bool:
        """Whether we gave this claim once and it is no longer in force.

        False for a claim that another stack gave on a job of the same id: its agents are not ours.
        """
        fields = await self._connection.execute("HGETALL", self._connection.keys.job(job_id))
        if not fields or fields.get("claim") == claim:
            return False
        given = (e.payload for e in parse_ledger(fields) if e.payload.get("cause") in TAKEN)
        return any(payload["claim"] == claim for payload in given)

    async def pass_on(self, pool: str) -> None:
        """Gives a wake token back that a runner without a free slot took."""
        await self._connection.execute(
            "XADD",
            self._connection.keys.wake(pool),
            "MAXLEN",
            "~",
            WAKE_TOKENS_MAX,
            "*",
            "pool",
            pool,
        )

    async def note(
        self,
        job_id: str,
        claim: str,
        *,
        number: int,
        event: str,
        payload: Mapping[str, Any],
        progress: Mapping[str, Any] | None = None,
        consume_answer: bool = False,
    ) -> str:
        """Appends evidence of a running attempt; returns the operator's wish (`pause` or nothing).

        Raises:
            Refused: LEASE_OVER, the claim is over; PAYLOAD_TOO_LARGE, the ledger is full.
            Misuse: no type of the catalogue, or other fields than it has there; or the type that only
                transitions write: a note must not forge a state that nobody could replay.
        """
        if event not in _NOTED:
            raise Misuse(ErrorCode.INTERNAL, f"{event!r} is no event that an attempt can note")
        if faults := payload_faults(EventType(event), payload):
            raise Misuse(ErrorCode.INTERNAL, "; ".join(faults))
        reply = await self._connection.call(
            "note",
            job_id,
            claim,
            number,
            "" if progress is None else orjson.dumps(progress).decode(),
            int(consume_answer),
            event,
            orjson.dumps(payload).decode(),
        )
        if reply[0] == "over":
            raise Refused(ErrorCode.LEASE_OVER, f"the claim on job {job_id} is over")
        if reply[0] == "ledger_full":
            raise Refused(ErrorCode.PAYLOAD_TOO_LARGE, f"the ledger of job {job_id} is full")
        return str(reply[1])


def _words(one: Working) -> tuple[str | int, ...]:
    return one.job_id, one.claim, one.epoch, one.attempt, one.notes, one.progress


def _handed(item: list[Any]) -> Offer | Gone | None:
    if len(item) == len(Gone._fields):
        job_id, claim, epoch = item
        return Gone(job_id, claim, int(epoch))
    return _offer(item) if item else None


def offer_in(entry: Mapping[str, str]) -> Offer:
    """What an inbox entry `offer` says."""
    return _offer([entry[name] for name in _HANDED])


def _offer(item: list[Any]) -> Offer:
    job_id, claim, attempt, stored, progress, answer, wish, outs, epoch, waited_ms, class_name = (
        item
    )
    offer = Offer(
        job_id,
        claim,
        int(epoch),
        int(attempt),
        stored,
        progress,
        answer,
        wish,
        int(outs),
        int(waited_ms),
        class_name,
    )
    if stored.startswith(MARK):
        spec, carried = split_carried(stored)
        return offer._replace(spec=spec, carried=carried)
    return offer
