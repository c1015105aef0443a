"""How a scheduler treats the control stream: in order, whatever stands in it, whoever else reads it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.mailbox import Entry
from actors.scheduler.commands import Commands
from contracts.commands import CommandStatus
from contracts.errors import ErrorCode
from orch.store.store import Store
from orch.system import SystemClock
from orch.telemetry.metrics import Metrics
from tests.sim.model.client import connect_model
from tests.sim.model.server import ModelServer
from tests.store.world import World

GOOD = {"v": "1", "id": "good", "command": "pause", "target": "*", "args": "{}"}
DEEP = "[" * 100_000
_ARGS = (
    "",
    "{",
    "[]",
    "null",
    "7",
    '"x"',
    '{"what":"both","what":"both"}',
    '{"what":"all"}',
    '{"what":1}',
)
_MORE_ARGS = ('{"until":1}', DEEP, "x" * 99_999, '{"what":NaN}', "\udcff", '{"\\ud800":1}')
_TARGETS = (
    "",
    "pool",
    "pool:",
    "pool:a:b",
    "queue:a",
    "runner:x",
    "key:a:b",
    "host:x",
    "pool:..",
    "**",
)
_LIMITS = (
    "{}",
    '{"limit":"x","value":1}',
    '{"limit":"weight","value":0}',
    '{"limit":"weight"}',
    '{"limit":"weight","value":1.5}',
    '{"limit":"pool_jobs_max","value":1}',
    '{"limit":"rate","value":"5"}',
    '{"limit":"rate","value":true}',
)
_CANCELS = (
    "{}",
    '{"filter":{}}',
    '{"filter":{"state":"completed"}}',
    '{"filter":{"state":"X"}}',
    '{"filter":{"tenant":"a b"}}',
    '{"filter":{"label":""}}',
    '{"filter":[]}',
    '{"dry_run":"yes"}',
)
_DEADLINES = ("-1", '"5"', "1e400", "99999999999999", "true")


def kind(prefix: str, field: str, *texts: str, **others: str) -> list[dict[str, str]]:
    """A good command with this field spoiled."""
    return [{**GOOD, **others, "id": f"{prefix}{n}", field: text} for n, text in enumerate(texts)]


GARBAGE = [
    {"x": "1"},
    {"v": "2"},
    {"v": ""},
    {"v": "1"},
    *kind("i", "id", "", "..", "a:b", "{orch:0}", "x" * 65, "é", "a b", "\x00", "\udcff"),
    *kind(
        "c", "command", "", "DRAIN", "kill-switch", "explode", "é", "\udcff", "pause ", "x" * 99_999
    ),
    *kind("t", "target", *_TARGETS, "tenant:a b", "pool:nowhere", "x" * 99_999, "\udcff"),
    *kind("a", "args", *_ARGS, *_MORE_ARGS),
    *kind("r", "if_revision", "", "-1", "1.5", "x", "9" * 40, "7", "\u0661"),
    *kind("d", "args", *(f'{{"deadline_ms":{one}}}' for one in _DEADLINES), command="drain"),
    *kind("l", "args", *_LIMITS, command="set-limit", target="tenant:t"),
    *kind("f", "args", *_CANCELS, command="cancel"),
    *kind("b", "by", "a b", ""),
    *kind("m", "unknown", "1"),
]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    connection = connect_model(ModelServer(SystemClock().wall_ms, "0" * 40), SystemClock())
    await connection.ping()
    yield World(connection)
    await connection.aclose()


async def write(world: World, **fields: str) -> str:
    words = [word for pair in fields.items() for word in pair]
    return str(await world.redis("XADD", world.connection.keys.control, "*", *words))


async def records(world: World) -> dict[str, Any]:
    found = await world.store.control.commands(limit=1_000)
    return {one.command_id: one for one in found.commands}


@pytest.mark.req("CTL-1")
async def test_each_kind_of_garbage_gets_its_refusal_and_the_next_command_is_applied(
    world: World,
) -> None:
    assert len(GARBAGE) >= 60
    for fields in random.Random(1).sample(GARBAGE, len(GARBAGE)):
        await write(world, **fields)
    await write(world, **GOOD)
    await Commands(world.store, Metrics()).handle([Entry("1-1", {})])
    found = await records(world)
    assert found.pop("good").status is CommandStatus.DONE
    assert len(found) == len(GARBAGE)
    for record in found.values():
        assert record.status is CommandStatus.REFUSED, record
        assert record.error is not None
        assert len(record.error.message) < 1_000
        assert record.model_dump_json(), "it can be shown"
    assert await world.redis("HGETALL", world.connection.keys.desired) == {
        "*:intake": "paused", "*:dispatch": "paused", "rev": "1",
    }  # fmt: skip
    assert await world.store.control.waiting(most=9) == []


class Broken(Commands):
    """Its store cannot carry out one command."""

    def __init__(self, store: Store, metrics: Metrics, bad: str) -> None:
        super().__init__(store, metrics)
        self.tries = 0
        apply = store.control.apply

        async def spoiled(entry_id: str, fields: Any) -> str | None:
            if fields["id"] == bad:
                self.tries += 1
                raise RuntimeError(bad)
            return await apply(entry_id, fields)

        store.control.apply = spoiled  # type: ignore[method-assign]  # a fault of the test's own


@pytest.mark.req("CTL-1")
async def test_a_poisonous_entry_is_refused_after_three_tries_and_holds_up_nobody(
    world: World,
) -> None:
    await write(world, **{**GOOD, "id": "poison"})
    await write(world, **GOOD)
    commands = Broken(world.store, Metrics(), "poison")
    await commands.handle([])
    found = await records(world)
    assert commands.tries == 3
    assert found["poison"].error.code is ErrorCode.INTERNAL
    assert found["good"].status is CommandStatus.DONE


@pytest.mark.req("CTL-2")
async def test_two_schedulers_that_read_the_same_stream_apply_each_command_once(
    world: World,
) -> None:
    import anyio

    for n in range(40):
        await write(world, **{**GOOD, "id": f"c{n}", "command": ("pause", "resume")[n % 2]})
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(Commands(world.store, Metrics()).handle, [])
    found = await records(world)
    assert [found[f"c{n}"].revision for n in range(40)] == list(range(1, 41)), "in their order"
    assert await world.redis("HGETALL", world.connection.keys.desired) == {"rev": "40"}
