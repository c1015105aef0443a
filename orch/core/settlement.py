"""What happens after an attempt that did not complete the job: one pure function (FBK-1, FBK-2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contracts.outcomes import RETRIED_BY_DEFAULT, Outcome
from contracts.states import BlockReason


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how late a job is tried again; the spec's values over the settings'."""

    attempts_max: int
    backoff_ms: int
    backoff_ms_max: int
    crashes_max: int
    on: frozenset[Outcome] = RETRIED_BY_DEFAULT


@dataclass(frozen=True, slots=True)
class History:
    """What happened so far, this attempt not counted."""

    failures: int
    """Attempts that ended in failure; crashes are counted apart (REA-2)."""
    crashes: int
    """Runners that died with the job."""


@dataclass(frozen=True, slots=True)
class RetryNow:
    """Another attempt at once, at the head of the line."""

    history: History


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Another attempt after a delay; parked as data, no worker waits."""

    history: History
    delay_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No attempt is left: the job becomes a dead letter."""

    history: History
    reason: Literal["not_retried", "attempts_used", "poison"]


@dataclass(frozen=True, slots=True)
class Block:
    """A human must look before anything else happens."""

    history: History
    block_reason: BlockReason


Decision = RetryNow | RetryLater | GiveUp | Block


def backoff_ms(policy: RetryPolicy, failures: int, chance: float) -> int:
    """Full jitter: a share `chance` (0 to 1) of backoff_ms * 2**(failures-1), capped."""
    # Beyond 2**40 ms every cap is met; the exponent is bounded so that the number stays small.
    ceiling = min(policy.backoff_ms_max, policy.backoff_ms * 2 ** min(max(failures, 1) - 1, 40))
    return int(ceiling * chance)


def _after_failure(
    policy: RetryPolicy, history: History, outcome: Outcome, delay_ms: int
) -> Decision:
    if outcome not in policy.on:
        return GiveUp(history, "not_retried")
    if history.failures >= policy.attempts_max:
        return GiveUp(history, "attempts_used")
    return RetryLater(history, delay_ms) if delay_ms > 0 else RetryNow(history)


def settle(
    policy: RetryPolicy,
    history: History,
    outcome: Outcome,
    *,
    retry_after_ms: int | None = None,
    chance: float,
) -> Decision:
    """The decision about one outcome.

    `chance` is a number in [0, 1] drawn by the caller, so that the same input gives the same answer.
    The first retry after `lost` has no backoff (REA-4): nothing is wrong with the job yet.
    """
    failed = History(history.failures + 1, history.crashes)
    match outcome:
        case Outcome.LOST:
            crashed = History(history.failures, history.crashes + 1)
            if crashed.crashes >= policy.crashes_max:
                return GiveUp(crashed, "poison")
            if Outcome.LOST not in policy.on:
                return GiveUp(crashed, "not_retried")
            delay_ms = (
                0 if crashed.crashes == 1 else backoff_ms(policy, crashed.crashes - 1, chance)
            )
            return RetryLater(crashed, delay_ms) if delay_ms else RetryNow(crashed)
        case Outcome.THROTTLED:
            # The provider's word beats our own schedule, however long it is (SCH-3).
            delay_ms = (
                retry_after_ms
                if retry_after_ms is not None
                else backoff_ms(policy, failed.failures, chance)
            )
            return _after_failure(policy, failed, outcome, max(1, delay_ms))
        case Outcome.TRANSIENT | Outcome.RESOURCE | Outcome.LOGIC | Outcome.ENVIRONMENT:
            return _after_failure(
                policy, failed, outcome, backoff_ms(policy, failed.failures, chance)
            )
        case Outcome.HUMAN:
            return Block(history, BlockReason.ERROR)
        case Outcome.DONE | Outcome.CANCELED | Outcome.EXPIRED:
            # Those are settled where they happen; an undecided one is a defect a human must see.
            return Block(history, BlockReason.ERROR)
