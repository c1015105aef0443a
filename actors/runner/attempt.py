"""One attempt of one job, from the offer to what the store is told about its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import orjson
import structlog

from actors.runner.decide import CANCELED, INTERRUPTED, PAUSED, REFUSED, closing
from actors.runner.desk import RunnerDesk
from actors.runner.emitter import Emitter, Sheet
from contracts.errors import ErrorCode, OrchError, Refused
from contracts.events import EventType
from contracts.limits import INLINE_BYTES_MAX
from contracts.outcomes import Outcome, ReasonCode
from contracts.spec import JobSpec
from orch.adapters.protocol import Claim, Ending, Run
from orch.adapters.registry import Adapters
from orch.blobs import Blobs
from orch.core.handover import ClaimEnding, Offer, Working
from orch.ports import Clock
from orch.store.claims import Claims

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bench:
    """What every attempt of a runner works with."""

    adapters: Adapters
    blobs: Blobs
    claims: Claims
    emitter: Emitter
    clock: Clock
    question_ttl_ms: int


@dataclass(slots=True)
class Attempt:
    """A claimed job while the runner holds it."""

    offer: Offer
    began_ms: int
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    desk: RunnerDesk | None = None
    stopped_for: Ending | None = None

    def stop(self, ending: Ending) -> None:
        """Stops the work; `ending` says why. The first reason counts."""
        if self.stopped_for is None:
            self.stopped_for = ending
            self.scope.cancel()

    def cancel(self) -> None:
        """The job is over: canceled or expired."""
        self.stop(CANCELED)

    def refused(self) -> None:
        """The claim is over, as far as the store knows."""
        self.stop(REFUSED)

    def pause(self) -> None:
        """It did not reach a step's end within the grace."""
        self.stop(PAUSED)

    def interrupt(self) -> None:
        """The runner leaves."""
        self.stop(INTERRUPTED)

    def working(self) -> Working:
        """As a server that came back is told of it."""
        offer, desk = self.offer, self.desk
        notes, progress = (desk.notes, desk.progress) if desk is not None else (0, "")
        return Working(offer.job_id, offer.claim, offer.epoch, offer.attempt, notes, progress)

    def wish_pause(self, wished: bool) -> None:
        """An operator wants it to stop at its next step, or no longer."""
        if self.desk is not None:
            self.desk.pause_is_wished = wished


def run_of(offer: Offer) -> Run:
    """The offer as adapters take it."""
    return Run(
        job_id=offer.job_id,
        attempt=offer.attempt,
        claim=Claim(offer.claim, offer.epoch),
        spec=JobSpec.model_validate_json(offer.spec),
        progress=orjson.loads(offer.progress) if offer.progress else {},
        answer=orjson.loads(offer.answer) if offer.answer else None,
    )


async def perform(attempt: Attempt, bench: Bench) -> ClaimEnding:
    """Runs it to its end; never raises for anything the job did."""
    offer = attempt.offer
    sheet = Sheet(offer.job_id, offer.claim, offer.outs + 1, attempt.refused)
    bench.emitter.open(sheet)
    attempt.desk = RunnerDesk(offer, sheet, bench.emitter, bench.claims, bench.blobs, bench.clock)
    ending = await _run(attempt, attempt.desk, bench)
    # Everything it said comes before its end in every reader's order.
    await bench.emitter.close(sheet)
    result = await _result_json(ending, bench.blobs)
    return closing(
        offer.job_id, offer.claim, ending, result_json=result, question_ttl_ms=bench.question_ttl_ms
    )


async def _run(attempt: Attempt, desk: RunnerDesk, bench: Bench) -> Ending:
    ending: Ending | None = None
    with attempt.scope:
        try:
            run = run_of(attempt.offer)
            ending = await bench.adapters.adapter_for(run.spec.adapter.name).run(run, desk)
            await _note_limit(ending, desk)
        except OrchError as error:
            ending = _from_error(attempt, error)
    if attempt.stopped_for is not None and (ending is None or attempt.scope.cancelled_caught):
        return attempt.stopped_for
    return ending if ending is not None else CANCELED


async def _note_limit(ending: Ending, desk: RunnerDesk) -> None:
    limits = {ReasonCode.WALL_LIMIT: "wall_ms", ReasonCode.IDLE_LIMIT: "idle_ms"}
    if ending.reason in limits:
        await desk.note(EventType.JOB_TIMEOUT, {"limit": limits[ending.reason]})


def _from_error(attempt: Attempt, error: OrchError) -> Ending:
    if isinstance(error, Refused) and error.code is ErrorCode.LEASE_OVER:
        log.warning("lease_lost", job=attempt.offer.job_id, claim=attempt.offer.claim)
        return REFUSED
    log.error("attempt_failed", job=attempt.offer.job_id, code=error.code, error=error.message)
    return Ending(Outcome.TRANSIENT, ReasonCode.INTERNAL, f"{error.code}: {error.message}")


async def _result_json(ending: Ending, blobs: Blobs) -> str:
    if ending.outcome is not Outcome.DONE:
        return ""
    data = orjson.dumps(ending.result)
    if len(data) <= INLINE_BYTES_MAX:
        return data.decode()
    ref = await blobs.put_bytes(data)
    return orjson.dumps({"$blob": {"sha256": ref.sha256, "bytes": ref.bytes}}).decode()
