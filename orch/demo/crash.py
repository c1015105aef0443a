"""Part 2: the runner of a job is killed with SIGKILL in the middle of a step.

The step in question works until a file is there, and the demo makes that file only after the take-over: so
the kill always falls into the middle, on a machine of any speed.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.events import EventType
from contracts.record import JobRecord, LedgerEvent
from contracts.states import Event
from orch.demo.house import RUNNERS, runner_above
from orch.demo.narrate import epoch, seconds
from orch.demo.processes import Process, kill, lives
from orch.demo.project import coder_step, make_project, steps_job, tests_step
from orch.demo.stage import Stage, decisive

TITLE: Final = "Its runner dies (SIGKILL) in the middle: another one takes over"
JOB_ID: Final = "demo-crash"
TAKEOVER_MS_MAX: Final = 15_000
"""A lease: without anybody who sees a runner die, the reaper needs about this long."""


@dataclass(slots=True)
class Scene:
    """Where the steps leave their traces, and what was done to whom."""

    plans: Path
    works: Path
    go: Path
    agent: Process | None = None
    runner: Process | None = None
    killed_at_ms: int = 0


async def crash(stage: Stage) -> None:
    """Show it."""
    folder = stage.house.folder("crash")
    await make_project(folder / "repository", has_bug=False)
    scene = Scene(folder / "plan.runs", folder / "write.runs", folder / "go")
    steps = [
        coder_step("plan", scene.plans),
        coder_step("write", scene.works, scene.go),
        {"id": "look", "argv": ["git", "status", "--short", "--untracked-files=all"]},
        tests_step(),
    ]
    spec = steps_job(JOB_ID, "add a tip", folder / "repository", steps)
    with stage.voice.waiting("the agent works, until its runner is killed"):
        job_id = await stage.submit(spec)
        async with aclosing(stage.follow(job_id)) as events:
            async for event in events:
                await _act(stage, scene, event)
    record, ledger = await stage.conclude(job_id)
    _judge_attempts(stage, record, ledger, scene)
    _judge_steps(stage, scene)
    await _judge_house(stage)


async def _act(stage: Stage, scene: Scene, event: LedgerEvent) -> None:
    """The demo's part in it: kill at the first start of `write`, let the second one finish."""
    if event.type is not EventType.STEP_STARTED or event.payload["step_id"] != "write":
        return
    if event.attempt == 1:
        await _kill_runner(stage, scene)
        return
    if scene.agent is not None:
        stage.holds(
            "the dead runner's agent was stopped before the other runner began",
            not lives(scene.agent),
            expected=f"process {scene.agent.pid} is gone",
            found="it still lives",
        )
    scene.go.touch()


async def _kill_runner(stage: Stage, scene: Scene) -> None:
    """SIGKILL to the runner above the agent; when that cannot be done the step is let go."""
    await stage.house.until(lambda: len(_lines(scene.works)) == 1)
    words = "".join(_lines(scene.works)[:1]).split()
    scene.agent = Process.of(int(words[0])) if words else None
    scene.runner = runner_above(scene.agent.pid, stage.house) if scene.agent else None
    if not stage.equal("a runner process works on the step", _role(scene.runner), "runner"):
        scene.go.touch()
        return
    assert scene.runner is not None
    scene.killed_at_ms = stage.house.clock.wall_ms()
    kill(scene.runner)
    stage.say(f"SIGKILL to runner process {scene.runner.pid}, in the middle of step write")


def _judge_attempts(
    stage: Stage, record: JobRecord, ledger: list[LedgerEvent], scene: Scene
) -> None:
    """Record and ledger: who held the job, and when."""
    ends = [attempt.outcome.value if attempt.outcome else "open" for attempt in record.attempts]
    stage.holds(
        f"the ledger shows {len(ends)} attempts: {', then '.join(ends)}",
        ends[:1] == ["lost"] and decisive(record) == ["done"],
        expected="lost, then done",
        found=ends,
    )
    stage.holds(
        "by different runners",
        len({attempt.runner for attempt in record.attempts}) == len(ends) > 1,
        expected="another runner for each attempt",
        found=[attempt.runner for attempt in record.attempts],
    )
    epochs = [attempt.epoch for attempt in record.attempts]
    stage.holds(
        f"each under a claim of its own: epochs {', '.join(map(epoch, epochs))}",
        epochs == sorted(set(epochs)),
        expected="rising numbers",
        found=epochs,
    )
    claims = [event.at_ms for event in ledger if event.payload.get("cause") == Event.CLAIM.value]
    takeover_ms = claims[1] - scene.killed_at_ms if len(claims) > 1 else None
    stage.facts["takeover_ms"] = takeover_ms
    stage.holds(
        f"the other runner had the job {seconds(takeover_ms)} after the kill",
        takeover_ms is not None and takeover_ms <= TAKEOVER_MS_MAX,
        expected=f"a second claim within {seconds(TAKEOVER_MS_MAX)}",
        found=f"{len(claims)} claims, the second after {seconds(takeover_ms)}",
    )


def _judge_steps(stage: Stage, scene: Scene) -> None:
    """Files: what the steps themselves wrote down."""
    stage.equal("the finished step was not run again", _lines(scene.plans), ["attempt 1"])
    runs = [line.partition(" ")[2] for line in _lines(scene.works)]
    again = runs[:2] == ["attempt 1", "attempt 2"]
    stage.holds(
        "the interrupted step was run again", again, expected="attempt 1, attempt 2", found=runs
    )


async def _judge_house(stage: Stage) -> None:
    """The supervisor has replaced what died."""

    def runners() -> list[Process]:
        return [process for process in stage.house.processes() if process.role == "runner"]

    await stage.house.until(lambda: len(runners()) == RUNNERS)
    stage.equal("a new runner process stands in its place", len(runners()), RUNNERS)


def _lines(path: Path) -> list[str]:
    """The whole lines of a file that may not be there yet."""
    text = path.read_text() if path.exists() else ""
    return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]


def _role(process: Process | None) -> str:
    return "nobody" if process is None else process.role
