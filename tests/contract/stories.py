"""What happens to the jobs whose streams are kept as transcripts; each story drives a stack of one slot.

A story gets a `Stage`: it submits its job, lets watchers read, and makes things happen when their time has
come. What two processes write at once would have no order, so a job that is watched while it runs prints
nothing, and one that prints is read when it is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from contracts.events import EventType
from contracts.states import State
from orch.store.keys import Keys
from tests.contract.whatwg import messages
from tests.e2e.specs import command, shell, step, steps
from tests.e2e.stack import DEADLINE_S, Stack, wait_until


@dataclass
class Watch:
    """One reader of one stream: what it has read so far; `over` once the server closed it."""

    read: bytes = b""
    over: threading.Event = field(default_factory=threading.Event)
    status: int = 0

    def has(self, text: str) -> bool:
        return text.encode() in self.read


@dataclass
class Stage:
    """The stack, a folder, and the request of the story's reader."""

    stack: Stack
    folder: Path
    after: str | None = None

    def submit(self, spec: dict[str, Any]) -> str:
        return self.stack.client.submit(spec).job_id

    def gate(self, name: str) -> tuple[str, Path]:
        """A line of shell that waits, and the file that ends the wait."""
        path = self.folder / name
        return f"while [ ! -e {path} ]; do sleep 0.02; done", path

    def read(self, job_id: str, after: str | None = None) -> bytes:
        """The whole stream of a job that is over."""
        return read_stream(self.stack.url, job_id, after)

    def watch(self, job_id: str) -> Watch:
        """A reader that follows the job from now on; it has seen `started`."""
        watch = follow_aside(self.stack.url, job_id)
        wait_until(lambda: watch.has("event: started"), what="the stream begins")
        return watch


def follow_aside(url: str, job_id: str) -> Watch:
    """A reader that goes on by itself until the server closes the stream."""
    watch = Watch()
    threading.Thread(target=_follow, args=(url, job_id, watch), daemon=True).start()
    return watch


def read_stream(url: str, job_id: str, after: str | None = None) -> bytes:
    watch = Watch()
    _follow(url, job_id, watch, after)
    assert watch.status == 200, watch.read
    return watch.read


def _follow(url: str, job_id: str, watch: Watch, after: str | None = None) -> None:
    headers = {} if after is None else {"Last-Event-ID": after}
    with (
        httpx2.Client(base_url=url, timeout=DEADLINE_S) as http,
        http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer,
    ):
        watch.status = answer.status_code
        for piece in answer.iter_raw():
            watch.read += piece
    watch.over.set()


def _finished(stage: Stage, watch: Watch) -> bytes:
    assert watch.over.wait(DEADLINE_S), watch.read
    return watch.read


Told = tuple[str, bytes]
"""The job, and what the story's reader was sent."""


def done(stage: Stage) -> Told:
    """Watched from the queue on to its end."""
    wait, gate = stage.gate("go")
    blocker = stage.submit(shell(wait))
    stage.stack.wait_for_state(blocker, State.RUNNING)
    job_id = stage.submit(command("true"))
    watch = stage.watch(job_id)
    gate.touch()
    return job_id, _finished(stage, watch)


def ended_before_the_watcher_came(stage: Stage) -> Told:
    """A step with a file; all of it is history."""
    record = stage.stack.run(steps(step("only", "echo hi > f.txt", artifacts=["f.txt"])))
    return record.job_id, stage.read(record.job_id)


def failed_with_retry(stage: Stage) -> Told:
    spec = shell("exit 75", retry={"attempts_max": 2, "backoff_ms": 500})
    record = stage.stack.run(spec)
    assert record.state is State.FAILED
    return record.job_id, stage.read(record.job_id)


def canceled_while_it_ran(stage: Stage) -> Told:
    job_id = stage.submit(command("sleep", "600"))
    stage.stack.wait_for_state(job_id, State.RUNNING)
    watch = stage.watch(job_id)
    stage.stack.client.cancel(job_id, "enough")
    return job_id, _finished(stage, watch)


def expired_before_it_began(stage: Stage) -> Told:
    wait, gate = stage.gate("go")
    blocker = stage.submit(shell(wait))
    stage.stack.wait_for_state(blocker, State.RUNNING)
    now_ms = int(stage.stack.redis.time()[0]) * 1_000
    job_id = stage.submit(command("true", deadline_ms=now_ms + 2_500))
    told = _finished(stage, stage.watch(job_id))
    gate.touch()
    return job_id, told


def paused_and_resumed(stage: Stage) -> Told:
    wait, gate = stage.gate("go")
    job_id = stage.submit(steps(step("first", wait), step("second", "true")))
    stage.stack.wait_for_event(job_id, EventType.STEP_STARTED, step_id="first")
    watch = stage.watch(job_id)
    stage.stack.client.pause(job_id)
    gate.touch()
    stage.stack.wait_for_state(job_id, State.PAUSED)
    stage.stack.client.resume(job_id, "go on")
    return job_id, _finished(stage, watch)


def question_and_answer(stage: Stage) -> Told:
    decision = {"text": "Where to?", "kind": "choose", "options": ["left", "right"]}
    job_id = stage.submit(
        steps(step("turn", 'test "$ORCH_ANSWER" = \'"left"\'', decision=decision))
    )
    watch = stage.watch(job_id)
    wait_until(lambda: watch.has('"to":"blocked"'), what="it asks")
    question = stage.stack.client.job(job_id).question
    assert question is not None
    stage.stack.client.answer(job_id, question.question_id, "left", "it is nearer")
    return job_id, _finished(stage, watch)


def trimmed_history(stage: Stage) -> Told:
    """Its oldest output is gone: two of five pieces, as the bound of the tail would have it."""
    record = stage.stack.run(command("true"))
    for i in range(3, 6):
        stage.stack.redis.xadd(Keys().output(record.job_id), {"stdout": f"line {i}\n"}, id=f"{i}-0")
    return record.job_id, stage.read(record.job_id)


def resumed_in_the_middle(stage: Stage) -> Told:
    """Its reader had seen the first attempt."""
    job_id, whole = failed_with_retry(stage)
    (first, *_) = (one for one in messages(whole) if '"cause":"release"' in one.data)
    stage.after = first.last_event_id
    return job_id, stage.read(job_id, stage.after)


STORIES: Final[dict[str, Callable[[Stage], Told]]] = {
    story.__name__: story
    for story in (
        done, ended_before_the_watcher_came, failed_with_retry, canceled_while_it_ran,
        expired_before_it_began, paused_and_resumed, question_and_answer, trimmed_history,
        resumed_in_the_middle,
    )
}  # fmt: skip
