"""Orch in eight short stories; read them from the top.

A *job* is one piece of agent work. You describe it in a *spec*, Orch makes it durable before it answers,
and from then on it will end in exactly one recorded way, whatever dies meanwhile. All of this goes through
the HTTP API, as your own program would; `orch submit`, `orch wait` … on the command line say the same words.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.states import State
from orch.client import OrchSync
from orch.system import wall_ms
from tests.e2e.stack import wait_until


def test_you_submit_a_job_and_wait_for_it(orch: OrchSync) -> None:
    """The smallest spec has a name and an adapter, the way its work is run; `command` wraps any program.

    `submit` answers as soon as the job is safe on disk. `wait` returns when the job is over, and the record
    says how: what came out, in which attempt, and when.
    """
    spec = {
        "name": "greet",
        "adapter": {"name": "command", "config": {"argv": ["echo", "hello"]}},
    }
    submitted = orch.submit(spec)
    job = orch.wait(submitted.job_id, timeout_s=30)
    assert job.state is State.COMPLETED
    assert job.result == {"exit_code": 0}
    assert [line.text for line in orch.logs(job.job_id).lines] == ["hello\n"]


def test_the_same_key_never_makes_a_second_job(orch: OrchSync) -> None:
    """Did the network break before the answer came? Submit again under the same idempotency key.

    You get the first job back, marked as a duplicate. The same key with other content is refused, because
    one of the two cannot be what you meant.
    """
    spec = {"name": "once", "adapter": {"name": "command", "config": {"argv": ["true"]}}}
    first = orch.submit(spec, "order-4711")
    again = orch.submit(spec, "order-4711")
    assert (again.job_id, again.duplicate) == (first.job_id, True)
    with pytest.raises(Refused) as refused:
        orch.submit({**spec, "name": "twice"}, "order-4711")
    assert refused.value.code is ErrorCode.IDEMPOTENCY_CONFLICT


def test_a_job_fails_and_says_why(orch: OrchSync) -> None:
    """A program that exits with 3 has failed by its own logic: trying it again would fail again.

    So the job is over after one attempt. The record has the outcome *class*; the attempt has the program's
    own exit code; the output has its last words; `explain` puts it into a sentence.
    """
    script = "echo 'no such customer' >&2; exit 3"
    spec = {
        "name": "bill",
        "adapter": {"name": "command", "config": {"argv": ["sh", "-c", script]}},
    }
    job = orch.wait(orch.submit(spec).job_id, timeout_s=30)
    assert (job.state, job.outcome) == (State.FAILED, Outcome.LOGIC)
    (attempt,) = job.attempts
    assert (attempt.exit_code, attempt.reason) == (3, "exit_code")
    assert [(line.stream, line.text) for line in orch.logs(job.job_id).lines] == [
        ("stderr", "no such customer\n")
    ]
    assert "logic" in orch.explain(job.job_id).reason


def test_a_job_that_may_work_next_time_is_tried_again(orch: OrchSync) -> None:
    """Exit code 75 means "temporary failure, please retry" (sysexits.h), and Orch takes it at its word.

    It waits a little longer each time, up to `attempts_max`. Every attempt is recorded; a program can see
    which one it is in ORCH_ATTEMPT. Here the service answers at the second call.
    """
    script = 'test "$ORCH_ATTEMPT" -ge 2 || exit 75; echo answered'
    spec = {
        "name": "call a shaky service",
        "adapter": {"name": "command", "config": {"argv": ["sh", "-c", script]}},
        "retry": {"attempts_max": 3},
    }
    job = orch.wait(orch.submit(spec).job_id, timeout_s=30)
    assert job.state is State.COMPLETED
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.TRANSIENT, Outcome.DONE]


def test_a_job_asks_and_goes_on_with_the_answer(orch: OrchSync) -> None:
    """A `steps` job is a list of commands; a step may need a human's decision before it runs.

    Then the job is *blocked*: it holds no slot and costs nothing, for days if need be. The answer is handed
    to the step in ORCH_ANSWER, and the steps that were finished before are not run again.
    """
    spec = {
        "name": "paint",
        "adapter": {
            "name": "steps",
            "config": {
                "steps": [
                    {"id": "prepare", "argv": ["echo", "walls are clean"]},
                    {
                        "id": "paint",
                        "argv": ["sh", "-c", 'echo "painted in $ORCH_ANSWER"'],
                        "decision": {
                            "text": "Which colour?",
                            "kind": "choose",
                            "options": ["red", "blue"],
                        },
                    },
                ]
            },
        },
    }
    job = orch.wait(orch.submit(spec).job_id, timeout_s=30)
    assert job.state is State.BLOCKED
    assert job.question is not None
    assert (job.question.text, job.question.options) == ("Which colour?", ["red", "blue"])
    orch.answer(job.job_id, job.question.question_id, "blue", reason="it is a bathroom")
    job = orch.wait(job.job_id, timeout_s=30)
    assert job.state is State.COMPLETED
    said = [line.text for line in orch.logs(job.job_id).lines]
    assert said == ["walls are clean\n", 'painted in "blue"\n']


def test_you_cancel_a_job_and_its_processes_are_gone(orch: OrchSync, tmp_path: Path) -> None:
    """Canceling is immediate and final: the record says so at once, and the agent is killed with all that it
    started. A result that it may still deliver is refused."""
    script = f"echo $$ > {tmp_path}/pid; echo working; sleep 3600"
    spec = {
        "name": "dig",
        "adapter": {"name": "command", "config": {"argv": ["sh", "-c", script]}},
    }
    job_id = orch.submit(spec).job_id
    for frame in orch.events(job_id):  # the live stream: its state, its output, its end
        if frame.event.value == "log":
            assert orch.cancel(job_id).state is State.CANCELED
    agent = Path("/proc") / (tmp_path / "pid").read_text().strip()
    with pytest.raises(Refused) as refused:
        orch.pause(job_id)
    assert refused.value.code is ErrorCode.INVALID_TRANSITION
    wait_until(lambda: not agent.exists(), what="the agent is gone")


def test_a_job_starts_when_its_time_has_come(orch: OrchSync) -> None:
    """`not_before_ms` parks a job until a time (unix milliseconds); `deadline_ms` ends one that is late.

    A parked job is data, not a waiting process: there may be a million of them.
    """
    start_ms = wall_ms() + 500
    spec = {
        "name": "later",
        "adapter": {"name": "command", "config": {"argv": ["true"]}},
        "not_before_ms": start_ms,
        "deadline_ms": start_ms + 60_000,
    }
    submitted = orch.submit(spec)
    assert submitted.state is State.SCHEDULED
    job = orch.wait(submitted.job_id, timeout_s=30)
    assert job.state is State.COMPLETED
    assert job.started_at_ms is not None
    assert job.started_at_ms >= start_ms


def test_the_ledger_tells_the_whole_story(orch: OrchSync) -> None:
    """Every job has a ledger: numbered from 1 without gaps, only ever appended to.

    The state of a job is nothing but the sum of its `status_changed` entries; all the rest is evidence beside
    it. When you wonder what happened last night, this is what you read (`orch events ID`).
    """
    spec = {
        "name": "tell",
        "adapter": {
            "name": "steps",
            "config": {"steps": [{"id": "only", "argv": ["echo", "once upon a time"]}]},
        },
    }
    job = orch.wait(orch.submit(spec).job_id, timeout_s=30)
    events = orch.ledger(job.job_id).events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    story = [
        f"{event.payload['from']} -> {event.payload['to']}"
        if event.type is EventType.STATUS_CHANGED
        else event.type.value
        for event in events
    ]
    assert story == [
        "None -> queued",
        "queued -> ready",
        "ready -> running",
        "step_started",
        "step_finished",
        "running -> completed",
    ]
