"""An outcome, a spec and chance in; a verdict for the store out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from contracts.outcomes import RETRIED_BY_DEFAULT, Outcome
from orch.core.handover import Undecided, Verdict
from orch.core.settlement import (
    Block,
    GiveUp,
    History,
    RetryLater,
    RetryNow,
    RetryPolicy,
    settle,
)


@dataclass(frozen=True, slots=True)
class RetryDefaults:
    """The settings' values, for specs that say nothing."""

    attempts_max: int
    backoff_ms: int
    backoff_ms_max: int
    crashes_max: int


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def policy_of(spec: dict[str, Any], defaults: RetryDefaults) -> RetryPolicy:
    """The retry policy of a stored spec, the defaults where it is silent."""
    retry = spec.get("retry") or {}
    named = retry.get("on")
    return RetryPolicy(
        attempts_max=_or(retry.get("attempts_max"), defaults.attempts_max),
        backoff_ms=_or(retry.get("backoff_ms"), defaults.backoff_ms),
        backoff_ms_max=_or(retry.get("backoff_ms_max"), defaults.backoff_ms_max),
        crashes_max=defaults.crashes_max,
        # What a spec names is tried again besides `lost`: a dead runner says nothing about the work.
        on=frozenset({*map(Outcome, named), Outcome.LOST})
        if named is not None
        else RETRIED_BY_DEFAULT,
    )


def outcome_of(found: Undecided) -> Outcome:
    """The class of the attempt's end."""
    return Outcome(json.loads(found.ending)["outcome"])


def verdict_of(found: Undecided, defaults: RetryDefaults, *, chance: float) -> Verdict:
    """What happens next, as the store carries it out."""
    ending = json.loads(found.ending)
    outcome = Outcome(ending["outcome"])
    decision = settle(
        policy_of(json.loads(found.spec), defaults),
        History(found.failures, found.crashes),
        outcome,
        retry_after_ms=ending.get("retry_after_ms"),
        chance=chance,
    )
    counts = {"failures": decision.history.failures, "crashes": decision.history.crashes}

    def verdict(verb: Any, payload: dict[str, Any], delay_ms: int = 0) -> Verdict:
        return Verdict(
            found.job_id,
            found.seq,
            found.entry_id,
            verb,
            delay_ms,
            {**payload, **counts},
            decision.history.failures,
            decision.history.crashes,
        )

    match decision:
        case RetryNow():
            return verdict("retry", {"after": outcome.value})
        case RetryLater(delay_ms=delay_ms):
            return verdict("backoff", {"after": outcome.value, "delay_ms": delay_ms}, delay_ms)
        case GiveUp(reason=reason):
            return verdict("fail", {"last": outcome.value, "reason": reason})
        case Block(block_reason=block_reason):
            return verdict("block", {"block_reason": block_reason.value})
