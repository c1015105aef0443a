"""The runner's output loop: ordered, bounded, and never clogged by a job that is over (RUN-2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest

from actors.runner.emitter import BUFFER_PIECES_MAX, TOKEN_CHARS_MAX, Emitter, Sheet
from orch.store.output import Output
from tests.actors.fakes import FakeClock, FakeOutput


@asynccontextmanager
async def an_emitter(output: FakeOutput) -> AsyncIterator[Emitter]:
    emitter = Emitter(cast(Output, output), FakeClock())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(emitter.run)
        with anyio.fail_after(5):
            yield emitter
        tasks.cancel_scope.cancel()


def a_sheet(emitter: Emitter, name: str, ended: list[str] | None = None) -> Sheet:
    sheet = Sheet(name, name, 1, lambda: None if ended is None else ended.append(name))
    emitter.open(sheet)
    return sheet


@pytest.mark.req("RUN-2")
async def test_everything_is_written_in_order_before_the_sheet_is_closed() -> None:
    output = FakeOutput()
    output.gate.set()
    async with an_emitter(output) as emitter:
        sheet = a_sheet(emitter, "a")
        for n in range(1_000):
            await emitter.put(sheet, "stdout", str(n))
        await emitter.close(sheet)
    assert output.kept == [("a", n + 1, str(n)) for n in range(1_000)]


@pytest.mark.req("RUN-2")
async def test_a_slow_server_makes_the_writers_wait() -> None:
    output = FakeOutput()
    async with an_emitter(output) as emitter:
        sheet = a_sheet(emitter, "a")
        put = 0
        with anyio.move_on_after(0.2):
            while True:
                await emitter.put(sheet, "stdout", "x")
                put += 1
                await anyio.lowlevel.checkpoint()
        assert BUFFER_PIECES_MAX <= put <= 2 * BUFFER_PIECES_MAX
        output.gate.set()
        await emitter.close(sheet)
    assert len(output.kept) == put


@pytest.mark.req("RUN-2", "LSE-2")
async def test_what_a_job_that_is_over_still_said_takes_no_room_from_the_others() -> None:
    output = FakeOutput(over={"dead"})
    ended: list[str] = []
    async with an_emitter(output) as emitter:
        dead, living = a_sheet(emitter, "dead", ended), a_sheet(emitter, "living")
        await emitter.put(dead, "stdout", "refused")
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        # While that call is under way the agent goes on talking, up to the bound.
        for _ in range(BUFFER_PIECES_MAX):
            await emitter.put(dead, "stdout", "too late")
        output.gate.set()
        await emitter.put(living, "stdout", "heard")
        await emitter.close(dead)
        await emitter.close(living)
    assert ended == ["dead"]
    assert output.kept == [("living", 1, "heard")]


@pytest.mark.req("RUN-2")
async def test_tokens_that_wait_anyway_wait_together_and_none_is_lost_or_out_of_order() -> None:
    output = FakeOutput()
    async with an_emitter(output) as emitter:
        sheet = a_sheet(emitter, "a")
        await emitter.put(sheet, "token", "first ")
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        # That one is on its way; more than would ever fit as pieces of their own come meanwhile.
        for n in range(10 * BUFFER_PIECES_MAX):
            await emitter.put(sheet, "token", f"{n} ")
        await emitter.put(sheet, "stdout", "between")
        await emitter.put(sheet, "token", "last")
        output.gate.set()
        await emitter.close(sheet)
    texts = [text for _, _, text in output.kept]
    said = "first " + "".join(f"{n} " for n in range(10 * BUFFER_PIECES_MAX))
    assert "".join(texts) == f"{said}betweenlast"
    assert [i for _, i, _ in output.kept] == list(range(1, len(texts) + 1))
    assert texts[0] == "first "
    assert texts[-2:] == ["between", "last"]
    assert len(texts) < 20
    assert max(len(text) for text in texts) <= TOKEN_CHARS_MAX
