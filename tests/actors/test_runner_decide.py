"""How an attempt's ending is put to the store: one verb for each kind of ending."""

from __future__ import annotations

import json

import pytest

from actors.runner.decide import CANCELED, INTERRUPTED, PAUSED, closing, handed_over, payload_of
from contracts.limits import EVENT_BYTES_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Ending, Question
from orch.core.handover import ClaimEnding

QUESTION = Question("q-1", "Go?", "choose", ("yes", "no"), step_id="s", block_reason="decision")


def closed(ending: Ending) -> ClaimEnding:
    return closing("job-1", "1.2.x", ending, result_json="null", question_ttl_ms=9)


@pytest.mark.req("FBK-6", "RUN-4", "RUN-6")
@pytest.mark.parametrize(
    ("ending", "verb", "payload"),
    [
        (
            Ending(Outcome.DONE, ReasonCode.COMPLETED, exit_code=0, result=1),
            "settle",
            {"outcome": "done", "reason": "completed", "exit_code": 0},
        ),
        (
            Ending(Outcome.HUMAN, ReasonCode.QUESTION, "Go?", question=QUESTION),
            "ask",
            {"outcome": "human", "reason": "question", "message": "Go?"},
        ),
        (PAUSED, "stop", {"outcome": "human", "reason": "paused"}),
        (
            INTERRUPTED,
            "handback",
            {"outcome": "transient", "reason": "interrupted", "message": "the runner left"},
        ),
        (
            handed_over(Ending(Outcome.HUMAN, ReasonCode.PAUSED, "stopped before step 'b'")),
            "handback",
            {
                "outcome": "transient",
                "reason": "interrupted",
                "message": "stopped before step 'b'",
            },
        ),
        (CANCELED, "release", {"outcome": "canceled", "reason": "canceled"}),
        (
            Ending(Outcome.LOGIC, ReasonCode.EXIT_CODE, "exit code 3", 3),
            "release",
            {"outcome": "logic", "reason": "exit_code", "message": "exit code 3", "exit_code": 3},
        ),
        (
            Ending(Outcome.THROTTLED, ReasonCode.EXIT_CODE, retry_after_ms=0),
            "release",
            {"outcome": "throttled", "reason": "exit_code", "retry_after_ms": 0},
        ),
        (
            Ending(Outcome.HUMAN, ReasonCode.QUESTION, "no question"),
            "release",
            {"outcome": "human", "reason": "question", "message": "no question"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_ending_has_one_verb(ending: Ending, verb: str, payload: dict[str, object]) -> None:
    found = closed(ending)
    assert (found.verb, found.job_id, found.claim) == (verb, "job-1", "1.2.x")
    assert found.payload == payload


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_done_attempt_settles(outcome: Outcome) -> None:
    verb = closed(Ending(outcome, ReasonCode.INTERNAL)).verb
    assert verb == ("settle" if outcome is Outcome.DONE else "release")


def test_a_question_travels_whole_with_its_time_to_live() -> None:
    found = closed(Ending(Outcome.HUMAN, ReasonCode.QUESTION, question=QUESTION))
    assert found.expires_in_ms == 9
    assert json.loads(found.data) == {
        "question_id": "q-1",
        "text": "Go?",
        "kind": "choose",
        "options": ["yes", "no"],
        "step_id": "s",
        "block_reason": "decision",
    }


def test_the_longest_message_fits_into_a_ledger_entry() -> None:
    payload = payload_of(Ending(Outcome.LOGIC, ReasonCode.EXCEPTION, "\U0001f600" * 10_000))
    assert len(json.dumps(payload, ensure_ascii=False).encode()) <= EVENT_BYTES_MAX
