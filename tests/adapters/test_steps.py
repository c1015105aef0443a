"""`steps`: in order, never a finished one again, an unknown one by its rule, a decision before its step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.environment import step_key

pytestmark = pytest.mark.req("RUN-1", "RUN-5", "RUN-8")


def shell(step_id: str, script: str, **more: Any) -> dict[str, Any]:
    return {"id": step_id, "argv": ["sh", "-c", script], **more}


def finished(step_id: str) -> dict[str, Any]:
    return {
        "state": "finished",
        "key": step_key("job-1", step_id),
        "exit_code": 0,
        "executed": True,
    }


def began(step_id: str, **more: Any) -> dict[str, Any]:
    return {"state": "started", "key": step_key("job-1", step_id), **more}


APPROVE = {"text": "Deploy?", "kind": "approve"}


async def test_steps_run_in_order_and_each_end_is_durable(bench: Any) -> None:
    ending = await bench.run(
        "steps", steps=[shell("a", "echo A"), shell("b", "echo $ORCH_STEP_ID $ORCH_STEP_KEY")]
    )
    assert (ending.outcome, ending.reason) == (Outcome.DONE, ReasonCode.COMPLETED)
    one = {"exit_code": 0, "executed": True}
    assert ending.result == {"steps": {"a": one, "b": one}}
    assert bench.desk.text() == f"A\nb {step_key('job-1', 'b')}\n"
    assert bench.desk.events() == ["step_started", "step_finished"] * 2
    assert [note.payload["executed"] for note in bench.desk.notes] == [True] * 4
    assert bench.desk.notes[2].progress == {"a": finished("a"), "b": began("b")}
    assert bench.desk.progress() == {"a": finished("a"), "b": finished("b")}


async def test_a_finished_step_is_never_run_again(bench: Any) -> None:
    steps = [shell("a", "echo A"), shell("b", "echo B")]
    ending = await bench.run("steps", attempt=2, progress={"a": finished("a")}, steps=steps)
    assert bench.desk.text() == "B\n"
    assert set(ending.result["steps"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("script", "outcome", "reason", "exit_code", "record"),
    [
        ("exit 4", Outcome.LOGIC, ReasonCode.EXIT_CODE, 4, "failed"),
        ("exit 75", Outcome.TRANSIENT, ReasonCode.EXIT_CODE, 75, "failed"),
        ("kill -9 $$", Outcome.LOGIC, ReasonCode.SIGNAL, 137, "started"),
    ],
)
async def test_a_failing_step_ends_the_attempt(
    bench: Any, script: str, outcome: Outcome, reason: ReasonCode, exit_code: int, record: str
) -> None:
    ending = await bench.run("steps", steps=[shell("a", script), shell("b", "echo B")])
    assert (ending.outcome, ending.reason, ending.exit_code) == (outcome, reason, exit_code)
    assert bench.desk.events() == ["step_started", "step_failed"]
    failed = bench.desk.notes[1].payload
    assert (failed["step_id"], failed["exit_code"], failed["executed"]) == ("a", exit_code, True)
    assert bench.desk.progress()["a"]["state"] == record


async def test_a_step_that_could_not_start_did_not_execute(bench: Any) -> None:
    ending = await bench.run("steps", steps=[{"id": "a", "argv": ["no-such-program"]}])
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND)
    assert bench.desk.notes[1].payload["executed"] is False
    assert bench.desk.progress()["a"]["state"] == "failed"


async def test_a_step_known_to_have_failed_runs_again_without_a_question(bench: Any) -> None:
    progress = {"a": {"state": "failed", "key": step_key("job-1", "a")}}
    steps = [shell("a", "echo again", effect="side_effect")]
    assert (
        await bench.run("steps", attempt=2, progress=progress, steps=steps)
    ).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("more", "outcome", "reason", "output"),
    [
        ({}, Outcome.DONE, ReasonCode.COMPLETED, "ran\n"),
        ({"effect": "side_effect"}, Outcome.HUMAN, ReasonCode.QUESTION, ""),
        ({"on_unknown": "ask"}, Outcome.HUMAN, ReasonCode.QUESTION, ""),
        (
            {"effect": "side_effect", "on_unknown": "retry"},
            Outcome.DONE,
            ReasonCode.COMPLETED,
            "ran\n",
        ),
        ({"on_unknown": "fail"}, Outcome.LOGIC, ReasonCode.UNKNOWN_STEP, ""),
    ],
)
async def test_an_unknown_step_follows_its_rule(
    bench: Any, more: dict[str, Any], outcome: Outcome, reason: ReasonCode, output: str
) -> None:
    steps = [shell("a", "echo ran", **more)]
    ending = await bench.run("steps", attempt=2, progress={"a": began("a")}, steps=steps)
    assert (ending.outcome, ending.reason) == (outcome, reason)
    assert bench.desk.text() == output
    assert bench.desk.events()[0] == "step_unknown"


async def ask_about_unknown(bench: Any, steps: list[dict[str, Any]]) -> Any:
    ending = await bench.run("steps", attempt=2, progress={"a": began("a")}, steps=steps)
    question = ending.question
    assert (question.kind, question.options) == ("choose", ("retry", "skip", "fail"))
    assert (question.step_id, question.block_reason) == ("a", "error")
    again = await bench.run("steps", attempt=2, progress={"a": began("a")}, steps=steps)
    assert again.question == question
    return question


@pytest.mark.parametrize(
    ("ruling", "outcome", "output", "executed"),
    [
        ("retry", Outcome.DONE, "ran\nB\n", True),
        ("skip", Outcome.DONE, "B\n", False),
        ("fail", Outcome.LOGIC, "", None),
    ],
)
async def test_a_person_rules_on_an_unknown_step(
    bench: Any, ruling: str, outcome: Outcome, output: str, executed: bool | None
) -> None:
    steps = [shell("a", "echo ran", effect="side_effect"), shell("b", "echo B")]
    question = await ask_about_unknown(bench, steps)
    answer = {"question_id": question.question_id, "step_id": "a", "value": ruling}
    ending = await bench.run(
        "steps", attempt=3, progress={"a": began("a")}, answer=answer, steps=steps
    )
    assert (ending.outcome, bench.desk.text()) == (outcome, output)
    # Twice it was found unknown and asked about; the third attempt heard the ruling.
    asked, events = bench.desk.events()[:2], bench.desk.events()[2:]
    assert asked == ["step_unknown", "step_unknown"]
    assert events[:2] == ["answer_consumed", "job_resumed"]
    assert bench.desk.notes[2].consume_answer
    if executed is None:
        assert (ending.reason, events[2:]) == (
            ReasonCode.UNKNOWN_STEP,
            ["step_failed"],
        )
    else:
        assert ending.result["steps"]["a"]["executed"] is executed


@pytest.mark.parametrize("seen", range(1, 4))
async def test_a_crash_after_any_note_of_a_skip_neither_runs_nor_asks_again(
    bench: Any, seen: int
) -> None:
    steps = [shell("a", "echo ran", effect="side_effect")]
    answer = {"question_id": "unknown-1", "step_id": "a", "value": "skip"}
    await bench.run("steps", attempt=3, progress={"a": began("a")}, answer=answer, steps=steps)
    kept = [note.progress for note in bench.desk.notes[:seen] if note.progress is not None][-1]
    ending = await bench.run("steps", attempt=4, progress=kept, steps=steps)
    assert (ending.outcome, bench.desk.text()) == (Outcome.DONE, "")


async def test_a_decision_is_asked_before_its_step_runs(bench: Any) -> None:
    steps = [
        shell("a", "echo A"),
        shell("b", "echo B", decision={"text": "Which?", "kind": "choose", "options": ["x", "y"]}),
    ]
    ending = await bench.run("steps", steps=steps)
    assert (ending.outcome, ending.reason) == (Outcome.HUMAN, ReasonCode.QUESTION)
    question = ending.question
    assert (question.text, question.kind, question.options, question.step_id) == (
        "Which?",
        "choose",
        ("x", "y"),
        "b",
    )
    assert bench.desk.text() == "A\n"
    assert "b" not in bench.desk.progress()


async def test_an_answer_reaches_its_step_and_is_consumed_once(bench: Any) -> None:
    steps = [
        shell("a", 'echo "$ORCH_ANSWER"; exit 75', decision={"text": "Name?", "kind": "text"}),
        shell("b", "echo B"),
    ]
    answer = {"question_id": "decision-1", "step_id": "a", "value": {"name": "ünï"}}
    ending = await bench.run("steps", attempt=2, answer=answer, steps=steps)
    assert ending.outcome is Outcome.TRANSIENT
    assert json.loads(bench.desk.text()) == {"name": "ünï"}
    assert bench.desk.events() == ["answer_consumed", "job_resumed", "step_started", "step_failed"]
    assert [note.consume_answer for note in bench.desk.notes] == [True, False, False, False]
    assert bench.desk.notes[0].progress["a"] == {
        "state": "answered",
        "key": step_key("job-1", "a"),
        "answer": {"name": "ünï"},
    }
    again = await bench.run("steps", attempt=3, progress=bench.desk.progress(), steps=steps)
    assert again.outcome is Outcome.TRANSIENT  # it ran on the kept answer, nobody was asked twice


@pytest.mark.parametrize(
    ("value", "runs"),
    [
        (True, False),
        ("approve", True),
        ("Yes", False),
        (False, False),
        ("deny", False),
        ("", False),
        (None, False),
    ],
)
async def test_an_approval_lets_the_step_run_and_all_else_denies_it(
    bench: Any, value: Any, runs: bool
) -> None:
    answer = {"question_id": "decision-1", "step_id": "a", "value": value}
    ending = await bench.run(
        "steps", attempt=2, answer=answer, steps=[shell("a", "echo A", decision=APPROVE)]
    )
    assert bench.desk.text() == ("A\n" if runs else "")
    if not runs:
        assert (ending.outcome, ending.question) == (Outcome.LOGIC, None)
        assert "denied" in ending.message
        assert bench.desk.notes[-1].payload["executed"] is False
        denied = await bench.run(
            "steps",
            attempt=3,
            progress=bench.desk.progress(),
            steps=[shell("a", "echo A", decision=APPROVE)],
        )
        assert (denied.outcome, bench.desk.text()) == (Outcome.LOGIC, "")


async def test_an_answer_for_another_step_waits_for_it(bench: Any) -> None:
    answer = {"question_id": "decision-1", "step_id": "b", "value": True}
    steps = [shell("a", "exit 75"), shell("b", "echo B", decision=APPROVE)]
    await bench.run("steps", attempt=2, answer=answer, steps=steps)
    assert not any(note.consume_answer for note in bench.desk.notes)


@pytest.mark.req("RUN-4")
async def test_a_pause_stops_before_the_next_step(bench: Any, tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        endings: list[Any] = []

        async def run() -> None:
            script = f"echo A; while ! [ -e {tmp_path}/go ]; do sleep 0.02; done"
            endings.append(
                await bench.run("steps", steps=[shell("a", script), shell("b", "echo B")])
            )

        group.start_soon(run)
        await bench.until(lambda: bench.desk.text() == "A\n")
        bench.desk.paused = True
        (tmp_path / "go").touch()
    assert (endings[0].outcome, endings[0].reason) == (Outcome.HUMAN, ReasonCode.PAUSED)
    assert bench.desk.progress() == {"a": finished("a")}


async def test_declared_and_dropped_artifacts_are_recorded(bench: Any, tmp_path: Path) -> None:
    script = 'mkdir -p out; echo one > out/a.txt; ln -s out/a.txt same; echo two > "$ORCH_ARTIFACT_DIR/b.txt"'
    steps = [shell("a", script, artifacts=["out/a.txt", "same"])]
    assert (await bench.run("steps", steps=steps, cwd=str(tmp_path))).outcome is Outcome.DONE
    assert bench.desk.artifacts == {"out/a.txt": b"one\n", "same": b"one\n", "b.txt": b"two\n"}


@pytest.mark.parametrize(
    ("script", "artifact", "words"),
    [
        ("true", "missing.txt", "was not made"),
        ("true", "../outside.txt", "not a path below"),
        ("true", "/etc/passwd", "not a path below"),
        ("ln -s /etc/passwd link", "link", "leads out"),
        ("ln -s / root", "root/etc/passwd", "leads out"),
        ("ln -s loop loop", "loop", "was not made"),
        ("mkdir dir", "dir", "not a regular file"),
        ("mkfifo pipe", "pipe", "not a regular file"),
        ("touch " + "n" * 129, "n" * 129, "name too long"),
    ],
)
async def test_an_artifact_that_is_missing_or_leads_out_fails_the_step(
    bench: Any, tmp_path: Path, script: str, artifact: str, words: str
) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    ending = await bench.run(
        "steps", steps=[shell("a", script, artifacts=[artifact])], cwd=str(inside)
    )
    assert ending.outcome is Outcome.LOGIC
    assert words in ending.message
    assert bench.desk.artifacts == {}
    assert bench.desk.events() == ["step_started", "step_failed"]


@pytest.mark.req("RUN-3")
async def test_the_wall_limit_counts_for_all_steps_together(bench: Any) -> None:
    steps = [shell("a", "sleep 0.3"), shell("b", "sleep 0.3"), shell("c", "sleep 100")]
    ending = await bench.run("steps", steps=steps, wall_ms=500)
    assert (ending.outcome, ending.reason) == (Outcome.RESOURCE, ReasonCode.WALL_LIMIT)
    assert bench.desk.progress()["b"]["state"] == "started"
