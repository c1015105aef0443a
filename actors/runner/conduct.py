"""One attempt, from the offer to what the store is told about its end: `conduct` runs it, `close` tells."""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from pydantic import ValidationError

from actors.runner.attempt import Attempt
from actors.runner.bench import Bench
from actors.runner.decide import REFUSED, closing, handed_over
from actors.runner.desk import RunnerDesk
from contracts.errors import ErrorCode, OrchError, Refused
from contracts.events import EventType
from contracts.limits import INLINE_BYTES_MAX
from contracts.outcomes import Outcome, ReasonCode
from contracts.spec import JobSpec
from orch.adapters.inline import inline_call
from orch.adapters.protocol import Claim, Ending, Run
from orch.blobs import Blobs
from orch.core.handover import ClaimEnding, Offer
from orch.core.tracing import context_of, span_of

log = structlog.get_logger()

_LIMITS = {ReasonCode.WALL_LIMIT: "wall_ms", ReasonCode.IDLE_LIMIT: "idle_ms"}


async def conduct(attempt: Attempt, bench: Bench) -> Ending:
    """Runs it to its end; raises nothing that the job did. May be canceled at any await."""
    desk = RunnerDesk(attempt, bench)
    try:
        ending = await _run(attempt.offer, desk, bench)
        if ending.reason in _LIMITS:
            await desk.note(EventType.JOB_TIMEOUT, _limit_of(attempt.offer, _LIMITS[ending.reason]))
    except OrchError as error:
        return _from_error(attempt.offer, error)
    return ending


def _limit_of(offer: Offer, name: str) -> dict[str, Any]:
    return {"limit": name, "value_ms": orjson.loads(offer.spec)["adapter"]["config"].get(name)}


async def _run(offer: Offer, desk: RunnerDesk, bench: Bench) -> Ending:
    call = inline_call(offer.spec)
    if call is not None:
        return await bench.adapters.inline.run(call, desk)
    try:
        run = run_of(offer, records_spans=bench.records_spans)
    except ValidationError as error:
        # It was admitted, so it is one of another version, or the record is damaged.
        message = f"the spec cannot be read: {error.errors(include_url=False)[0]['msg']}"
        return Ending(Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG, message)
    return await bench.adapters.adapter_for(run.spec.adapter.name).run(run, desk)


def run_of(offer: Offer, *, records_spans: bool = False) -> Run:
    """The offer as adapters take it."""
    return Run(
        job_id=offer.job_id,
        attempt=offer.attempt,
        claim=Claim(offer.claim, offer.epoch),
        spec=JobSpec.model_validate_json(offer.spec),
        progress=orjson.loads(offer.progress) if offer.progress else {},
        answer=orjson.loads(offer.answer) if offer.answer else None,
        traceparent=None if offer.carried is None else _traceparent(offer, records_spans),
    )


def _traceparent(offer: Offer, records_spans: bool) -> str | None:
    """What the agent's own spans hang on: its attempt where that is recorded, else what the job carries."""
    context = None if offer.carried is None else context_of(offer.carried.traceparent)
    if context is not None and context.sampled and records_spans:
        context = span_of(context, offer.job_id, "attempt", offer.attempt)
    return None if context is None else context.traceparent


def _from_error(offer: Offer, error: OrchError) -> Ending:
    if isinstance(error, Refused) and error.code is ErrorCode.LEASE_OVER:
        log.warning("lease_lost", job_id=offer.job_id, claim=offer.claim)
        return REFUSED
    log.error("attempt_failed", job_id=offer.job_id, code=error.code, error=error.message)
    return Ending(Outcome.TRANSIENT, ReasonCode.INTERNAL, f"{error.code}: {error.message}")


async def close(attempt: Attempt, ending: Ending, bench: Bench) -> ClaimEnding:
    """The ending as the store takes it, once all that the attempt said is written."""
    if attempt.sheet is not None:
        # Everything it said comes before its end in every reader's order.
        await bench.emitter.close(attempt.sheet)
    result = ""
    if ending.reason is ReasonCode.PAUSED and not attempt.pause_is_wished:
        ending = handed_over(ending)
    if ending.outcome is Outcome.DONE:
        try:
            result = await _result_json(ending, bench.blobs)
        except TypeError as error:
            message = f"the result is not JSON: {error}"
            ending = Ending(Outcome.LOGIC, ReasonCode.EXCEPTION, message)
        except OSError as error:
            # The host's fault, most likely a full disk: this attempt ends, its neighbours go on.
            message = f"the result cannot be stored: {error.strerror}"
            ending = Ending(Outcome.TRANSIENT, ReasonCode.INTERNAL, message)
    job_id, claim = attempt.offer.job_id, attempt.offer.claim
    return closing(job_id, claim, ending, result_json=result, question_ttl_ms=bench.question_ttl_ms)


async def _result_json(ending: Ending, blobs: Blobs) -> str:
    data = orjson.dumps(ending.result)
    if len(data) <= INLINE_BYTES_MAX:
        return data.decode()
    ref = await blobs.put_bytes(data)
    return orjson.dumps({"$blob": {"sha256": ref.sha256, "bytes": ref.bytes}}).decode()
