"""The whole demo in order: a house, the stages, the end; and what happens when somebody stops it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, TextIO

import anyio
import anyio.abc

from contracts.errors import ExitCode, OrchError
from orch.client import Orch
from orch.demo.coding import TITLE as CODING
from orch.demo.coding import coding
from orch.demo.crash import TITLE as CRASH
from orch.demo.crash import crash
from orch.demo.crowd import TITLE as CROWD
from orch.demo.crowd import crowd
from orch.demo.ending import Ending, orch_words, show
from orch.demo.house import ROLES, House, mode_of
from orch.demo.project import need_git
from orch.demo.question import TITLE as QUESTION
from orch.demo.question import question
from orch.demo.stage import Stage
from orch.demo.voice import Voice
from orch.system import SystemClock

STAGE_S_MAX: Final = 120
"""A stage that hangs becomes a failed check."""
WATCH_EVERY_MS: Final = 250
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the tour."""

    name: str
    title: str
    play: Callable[[Stage], Awaitable[None]]
    look: tuple[str, ...]
    """The command that shows the same."""


PARTS: Final = (
    Part("coding", CODING, coding, ("events", "demo-coding")),
    Part("crash", CRASH, crash, ("status", "demo-crash")),
    Part("question", QUESTION, question, ("events", "demo-question")),
    Part("crowd", CROWD, crowd, ("list", "--tenant", "crowd", "--limit", "10")),
)


@dataclass(slots=True)
class Wish:
    """What was asked for, and whether it still is."""

    up_argv: tuple[str, ...]
    environ: Mapping[str, str]
    keep: bool = False
    as_json: bool = False
    interrupted: bool = field(default=False, init=False)


def _up_argv(wish: Wish) -> tuple[str, ...]:
    """A stack that is not to be kept ends with the demo, even when that is killed."""
    return wish.up_argv if wish.keep else (*wish.up_argv, "--parent", str(os.getpid()))


async def tour(wish: Wish) -> int:
    """The demo; its exit code. Raises what `orch.demo.demo` raises."""
    voice = voice_for(sys.stderr if wish.as_json else sys.stdout)
    need_git()
    house = House.new()
    ending: Ending | OrchError | None = None
    async with anyio.create_task_group() as tasks:
        scope = await tasks.start(_listen, wish, voice)
        with scope:
            try:
                ending = await _play(wish, house, voice)
            except OrchError as error:  # raised below: not as part of a group
                ending = error
        tasks.cancel_scope.cancel()
    if isinstance(ending, OrchError):
        raise ending
    if ending is None or wish.interrupted:
        _tell_interruption(house, voice)
        return ExitCode.INTERRUPTED
    show(ending, voice)
    if wish.as_json:
        print(json.dumps(ending.document(), ensure_ascii=False), flush=True)
    return ExitCode.OK if ending.ok else ExitCode.JOB_FAILED


def _tell_interruption(house: House, voice: Voice) -> None:
    if house.left() or house.home.exists():
        voice.line(f"interrupted; this is left: {house.home} {house.left()}", "bad")
    else:
        voice.say("interrupted; the stack has been stopped and its home removed")


def voice_for(stream: TextIO) -> Voice:
    """The brightest voice that the stream can take."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Voice(stream)
    from orch.demo.bright import BrightVoice

    return BrightVoice(stream)


async def _listen(
    wish: Wish,
    voice: Voice,
    *,
    task_status: anyio.abc.TaskStatus[anyio.CancelScope] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """A first signal ends the tour; the taking down that follows cannot be interrupted again."""
    scope = anyio.CancelScope()
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        task_status.started(scope)
        async for _ in signals:
            if wish.interrupted:
                voice.say("one moment, the stack is being stopped")
            wish.interrupted = True
            scope.cancel()


async def _play(wish: Wish, house: House, voice: Voice) -> Ending:
    """All of it; at the end the house is gone, unless it is kept."""
    clock = SystemClock()
    began_ms = clock.monotonic_ms()
    voice.line(
        "Orch: durable execution of AI-agent work. This demo checks whatever it claims.", "title"
    )

    def is_kept() -> bool:
        return wish.keep and not wish.interrupted

    async with AsyncExitStack() as exits:
        with voice.waiting("a private stack is starting, in a temporary home"):
            standing = house.standing(_up_argv(wish), wish.environ, is_kept=is_kept)
            await exits.enter_async_context(standing)
        client = await exits.enter_async_context(house.client())
        theatre = Theatre(house, client, voice)
        stages = [theatre.stage("stack", "A private stack, every actor a process of its own")]
        _judge_house(stages[0])
        for number, part in enumerate(PARTS, 1):
            stages.append(await theatre.play(number, part))
        if not all(stage.ok for stage in stages):
            voice.say("The last words of the actors:")
            voice.output(house.log_tail())
        if not is_kept():
            exits.enter_context(voice.waiting("the stack is being stopped and its home removed"))
    if not is_kept():
        stages.append(theatre.stage("end", "Nothing is left behind"))
        _judge_departure(stages[-1])
    took_ms = clock.monotonic_ms() - began_ms
    return Ending(stages, house.home, client.endpoint.url, is_kept(), took_ms)


@dataclass(frozen=True, slots=True)
class Theatre:
    """What every stage needs."""

    house: House
    client: Orch
    voice: Voice

    def stage(self, name: str, title: str) -> Stage:
        """A new stage, announced."""
        self.voice.heading(title)
        return Stage(name, title, self.house, self.client, self.voice)

    async def play(self, number: int, part: Part) -> Stage:
        """One part, for as long as the stack stands."""
        stage = self.stage(part.name, f"{number}. {part.title}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_ended, tasks.cancel_scope)
            await self._perform(part, stage)
            tasks.cancel_scope.cancel()
        if self.house.has_ended():
            stage.equal("the stack stands", "its supervisor has ended", "its supervisor runs")
            return stage
        self.voice.say("the same, from the command line while the stack stands:")
        self.voice.command(orch_words(self.house.home, *part.look))
        return stage

    async def _perform(self, part: Part, stage: Stage) -> None:
        """The part itself; whatever breaks it is a check that failed."""
        try:
            with anyio.fail_after(STAGE_S_MAX):
                await part.play(stage)
        except (OrchError, OSError) as error:  # a TimeoutError is an OSError
            words = f"{type(error).__name__}: {error}"
            stage.holds("the part went through", False, expected="no error", found=words)

    async def _cancel_when_ended(self, scope: anyio.CancelScope) -> None:
        while not self.house.has_ended():
            await self.house.clock.sleep_ms(WATCH_EVERY_MS)
        scope.cancel()


def _judge_house(stage: Stage) -> None:
    """What runs, and who may look into it."""
    house = stage.house
    actors = house.processes()
    stage.equal(
        f"{len(ROLES)} processes: {', '.join(ROLES)}",
        [process.role for process in actors],
        [*ROLES],
    )
    stage.equal("only its owner may enter the home", mode_of(house.home), "700")
    stage.holds(
        f"the gateway is ready at {stage.client.endpoint.url}, reachable from this machine only",
        stage.client.endpoint.is_loopback,
        expected="a loopback address",
        found=stage.client.endpoint.url,
    )
    stage.say(f"home: {house.home}")


def _judge_departure(stage: Stage) -> None:
    """What runs and stands now."""
    house = stage.house
    stage.equal(f"all {len(house.seen)} processes of the stack have ended", house.left(), [])
    stubborn = [process.role for process in house.stubborn]
    stage.equal("none of them had to be killed for it", stubborn, [])
    stage.equal("the home is removed", house.home.exists(), False)
