"""What follows an attempt: bounds, caps, poison and providers' words, over all histories (FBK-1, FBK-2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.outcomes import RETRIED_BY_DEFAULT, Outcome
from contracts.states import BlockReason
from orch.core.settlement import (
    Block,
    GiveUp,
    History,
    RetryLater,
    RetryNow,
    RetryPolicy,
    backoff_ms,
    settle,
)

DEFAULTS = RetryPolicy(attempts_max=3, backoff_ms=2_000, backoff_ms_max=60_000, crashes_max=3)
FAILURES = [
    Outcome.TRANSIENT,
    Outcome.RESOURCE,
    Outcome.LOGIC,
    Outcome.ENVIRONMENT,
    Outcome.THROTTLED,
]

chances = st.floats(0, 1)
policies = st.builds(
    RetryPolicy,
    attempts_max=st.integers(1, 100),
    backoff_ms=st.integers(0, 86_400_000),
    backoff_ms_max=st.integers(0, 86_400_000),
    crashes_max=st.integers(1, 100),
    on=st.frozensets(st.sampled_from(list(Outcome))),
)
histories = st.builds(History, failures=st.integers(0, 200), crashes=st.integers(0, 200))


@pytest.mark.req("FBK-2")
@given(policies, st.integers(-5, 10_000), chances)
def test_a_backoff_lies_between_zero_and_its_cap(
    policy: RetryPolicy, failures: int, chance: float
) -> None:
    assert 0 <= backoff_ms(policy, failures, chance) <= policy.backoff_ms_max


@pytest.mark.req("FBK-2")
def test_the_ceiling_doubles_with_each_failure_until_the_cap() -> None:
    ceilings = [backoff_ms(DEFAULTS, failures, 1.0) for failures in range(1, 8)]
    assert ceilings == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    assert backoff_ms(DEFAULTS, 3, 0.5) == 4_000
    assert backoff_ms(DEFAULTS, 3, 0.0) == 0


@pytest.mark.req("FBK-1")
@given(
    policies, histories, st.sampled_from(list(Outcome)), st.none() | st.integers(0, 10**9), chances
)
def test_every_outcome_has_one_decision_and_the_same_input_the_same(
    policy: RetryPolicy, history: History, outcome: Outcome, after_ms: int | None, chance: float
) -> None:
    made = settle(policy, history, outcome, retry_after_ms=after_ms, chance=chance)
    assert made == settle(policy, history, outcome, retry_after_ms=after_ms, chance=chance)
    counted = made.history.failures - history.failures, made.history.crashes - history.crashes
    if outcome is Outcome.LOST:
        assert counted == (0, 1)
    elif outcome in FAILURES:
        assert counted == (1, 0)
    else:
        assert (counted, made) == ((0, 0), Block(history, BlockReason.ERROR))


@pytest.mark.req("FBK-2")
@given(policies, histories, st.sampled_from(FAILURES), chances)
def test_attempts_are_bounded_and_only_the_named_classes_are_tried_again(
    policy: RetryPolicy, history: History, outcome: Outcome, chance: float
) -> None:
    made = settle(policy, history, outcome, chance=chance)
    if outcome not in policy.on:
        assert isinstance(made, GiveUp)
        assert made.reason == "not_retried"
    elif history.failures + 1 >= policy.attempts_max:
        assert isinstance(made, GiveUp)
        assert made.reason == "attempts_used"
    else:
        assert isinstance(made, RetryNow | RetryLater)
    if isinstance(made, RetryLater):
        assert 0 < made.delay_ms <= max(1, policy.backoff_ms_max)


@pytest.mark.req("REA-2")
@given(policies, histories, chances)
def test_a_job_that_lost_too_many_runners_is_poison_whatever_its_policy(
    policy: RetryPolicy, history: History, chance: float
) -> None:
    made = settle(policy, history, Outcome.LOST, chance=chance)
    poison = history.crashes + 1 >= policy.crashes_max
    assert (isinstance(made, GiveUp) and made.reason == "poison") == poison


@pytest.mark.req("REA-2", "REA-4")
def test_crashes_are_counted_apart_and_the_first_is_tried_again_at_once() -> None:
    assert settle(DEFAULTS, History(2, 0), Outcome.LOST, chance=1.0) == RetryNow(History(2, 1))
    assert settle(DEFAULTS, History(2, 1), Outcome.LOST, chance=1.0) == RetryLater(
        History(2, 2), 2_000
    )
    assert settle(DEFAULTS, History(0, 2), Outcome.LOST, chance=1.0) == GiveUp(
        History(0, 3), "poison"
    )


@pytest.mark.req("FBK-2", "SCH-3")
@given(histories, st.integers(0, 10**12), chances)
def test_a_throttled_job_waits_at_least_as_long_as_the_provider_said(
    history: History, after_ms: int, chance: float
) -> None:
    policy = RetryPolicy(attempts_max=1_000, backoff_ms=0, backoff_ms_max=0, crashes_max=1)
    made = settle(policy, history, Outcome.THROTTLED, retry_after_ms=after_ms, chance=chance)
    assert isinstance(made, RetryLater)
    assert made.delay_ms >= after_ms
    assert made.delay_ms <= max(1, after_ms)


@pytest.mark.req("FBK-1")
def test_a_command_that_fails_is_not_tried_again_unless_its_spec_asks() -> None:
    assert Outcome.LOGIC not in RETRIED_BY_DEFAULT
    assert settle(DEFAULTS, History(0, 0), Outcome.LOGIC, chance=1.0) == GiveUp(
        History(1, 0), "not_retried"
    )
    asked = RetryPolicy(3, 2_000, 60_000, 3, on=frozenset({Outcome.LOGIC}))
    assert settle(asked, History(0, 0), Outcome.LOGIC, chance=1.0) == RetryLater(
        History(1, 0), 2_000
    )
