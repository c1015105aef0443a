"""An outcome in, a verdict out: every outcome class against every kind of policy (FBK-1, FBK-2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.fallback.decide import RetryDefaults, policy_of, verdict_of
from contracts.outcomes import RETRIED_BY_DEFAULT, Outcome
from orch.core.handover import Undecided, Verdict

DEFAULTS = RetryDefaults(attempts_max=3, backoff_ms=1_000, backoff_ms_max=10_000, crashes_max=3)


def judged(
    outcome: str,
    *,
    retry: dict[str, Any] | None = None,
    failures: int = 0,
    crashes: int = 0,
    chance: float = 0.5,
    **ending: Any,
) -> Verdict:
    spec = {} if retry is None else {"retry": retry}
    found = Undecided(
        "job-1", "7", "1-1", json.dumps(spec), json.dumps({"outcome": outcome, **ending}), failures, crashes
    )  # fmt: skip
    return verdict_of(found, DEFAULTS, chance=chance)


@pytest.mark.req("FBK-1", "FBK-2", "REA-2")
@pytest.mark.parametrize(
    ("outcome", "history", "retry", "verb", "delay_ms", "counts"),
    [
        ("transient", (0, 0), None, "backoff", 500, (1, 0)),
        ("transient", (1, 0), None, "backoff", 1_000, (2, 0)),
        ("transient", (2, 0), None, "fail", 0, (3, 0)),
        ("transient", (0, 0), {"attempts_max": 1}, "fail", 0, (1, 0)),
        ("transient", (0, 0), {"backoff_ms": 0}, "retry", 0, (1, 0)),
        ("transient", (8, 0), {"attempts_max": 100}, "backoff", 5_000, (9, 0)),
        ("transient", (0, 0), {"on": ["logic"]}, "fail", 0, (1, 0)),
        ("throttled", (0, 0), None, "backoff", 500, (1, 0)),
        ("resource", (0, 0), None, "backoff", 500, (1, 0)),
        ("logic", (0, 0), None, "fail", 0, (1, 0)),
        ("logic", (0, 0), {"on": ["logic"]}, "backoff", 500, (1, 0)),
        ("environment", (0, 0), None, "fail", 0, (1, 0)),
        ("lost", (0, 0), None, "retry", 0, (0, 1)),
        ("lost", (0, 1), None, "backoff", 500, (0, 2)),
        ("lost", (0, 2), None, "fail", 0, (0, 3)),
        ("lost", (2, 0), None, "retry", 0, (2, 1)),
        ("lost", (0, 0), {"on": []}, "retry", 0, (0, 1)),
        ("human", (1, 1), None, "block", 0, (1, 1)),
    ],
)
def test_a_verdict_follows_from_outcome_history_and_policy(
    outcome: str,
    history: tuple[int, int],
    retry: dict[str, Any] | None,
    verb: str,
    delay_ms: int,
    counts: tuple[int, int],
) -> None:
    verdict = judged(outcome, retry=retry, failures=history[0], crashes=history[1])
    assert (verdict.verb, verdict.delay_ms) == (verb, delay_ms)
    assert (verdict.failures, verdict.crashes) == counts
    assert (verdict.job_id, verdict.seq, verdict.entry_id) == ("job-1", "7", "1-1")
    assert {"failures": counts[0], "crashes": counts[1]}.items() <= verdict.payload.items()


@pytest.mark.req("FBK-1")
def test_every_outcome_class_has_a_verdict() -> None:
    verbs = {outcome: judged(outcome.value).verb for outcome in Outcome}
    assert set(verbs.values()) <= {"retry", "backoff", "fail", "block"}
    again = {outcome for outcome, verb in verbs.items() if verb in {"retry", "backoff"}}
    assert again == RETRIED_BY_DEFAULT


@pytest.mark.req("SCH-3")
def test_the_providers_word_beats_our_own_schedule() -> None:
    verdict = judged("throttled", retry_after_ms=7_200_000)
    assert (verdict.verb, verdict.delay_ms) == ("backoff", 7_200_000)
    assert verdict.payload["delay_ms"] == 7_200_000


@pytest.mark.req("FBK-2")
@pytest.mark.parametrize(("chance", "delay_ms"), [(0.0, 0), (0.25, 250), (1.0, 1_000)])
def test_the_jitter_is_full_and_the_same_chance_gives_the_same_delay(
    chance: float, delay_ms: int
) -> None:
    verdict = judged("transient", chance=chance)
    assert verdict.delay_ms == delay_ms
    assert verdict.verb == ("backoff" if delay_ms else "retry")


def test_a_spec_may_name_zero_and_silence_means_the_default() -> None:
    named = policy_of({"retry": {"backoff_ms": 0, "on": ["logic"]}}, DEFAULTS)
    assert (named.attempts_max, named.backoff_ms, named.backoff_ms_max) == (3, 0, 10_000)
    assert named.on == {Outcome.LOGIC, Outcome.LOST}
    assert policy_of({}, DEFAULTS).on == RETRIED_BY_DEFAULT
    assert policy_of({"retry": None}, DEFAULTS) == policy_of({}, DEFAULTS)
