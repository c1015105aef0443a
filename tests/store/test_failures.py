"""Every failure of a server or link, met by every call of the store: retry, refuse, stop, as the table says.

The faults come over a real socket, from a link in front of a real server (`faulty.py`). Time is virtual
where Orch waits, so a deadline costs nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path
from typing import Any, Final, get_type_hints

import anyio
import anyio.lowlevel
import pytest
import redis
from anyio.from_thread import start_blocking_portal
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.errors import Unavailable
from orch.core.bounds import Bounds
from orch.store.connection import Connection
from orch.store.failures import Reaction
from orch.store.store import Store, open_store
from orch.system import SystemClock
from tests.store.answers import KINDS, SAMPLES
from tests.store.calls import CALLS as MOST_CALLS
from tests.store.calls_webhooks import WEBHOOK_CALLS
from tests.store.engines import Servers, why_absent
from tests.store.faulty import (
    CUT,
    GARBAGE,
    RESET_AFTER,
    RESET_BEFORE,
    SILENCE,
    Fault,
    FaultyLink,
    Plan,
    Words,
    faulty_link,
    healthy,
    is_greeting,
    said,
)
from tests.store.injection import Injection
from tests.store.scenes import Call, Scene
from tests.store.world import World, policy

# Half of it is the socket's real timeout, so a machine that pauses us for a moment fails no test ...
DEADLINE_MS: Final = 2_000
# ... and a silence, which costs that timeout each time, has a short one.
SILENT_DEADLINE_MS: Final = 300
CALLS: Final = {**MOST_CALLS, **WEBHOOK_CALLS}
FAULTS: Final = (RESET_BEFORE, RESET_AFTER, CUT, GARBAGE, SILENCE)


class Clock:
    """Waiting takes no time; `heal` is called while Orch waits before it tries again."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.heal: Callable[[], None] = lambda: None

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return SystemClock().wall_ms()

    async def sleep_ms(self, duration_ms: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.now_ms += int(duration_ms)
        self.heal()


class Ids:
    """Ids that are the same in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def job_id(self) -> str:
        return f"fresh-{next(self._numbers)}"

    def token(self) -> str:
        return f"token-{next(self._numbers)}"


@dataclass(slots=True)
class Stage:
    """A scene, a store behind a faulty link, and what is stored."""

    call: Call
    scene: Scene
    link: FaultyLink
    clock: Clock
    connection: Connection
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(
            self.connection, Ids(), policy(), actor="gateway", bounds=Bounds(1_000)
        )

    async def act(self) -> Any:
        """The call, its answer as text without times and ids of the run."""
        return await self.call.act(self.store, self.scene)

    async def stored(self) -> dict[str, str]:
        """Everything stored but what a repeat may add to, without times and ids of the run."""
        contents = await self.scene.world.contents()
        prefix = self.connection.keys.prefix
        return {
            masked(name): masked(value)
            for name, value in contents.items()
            if name.removeprefix(prefix).partition(":")[0] not in self.call.twice
        }


def masked(value: Any) -> str:
    """A key or a value as text in which times, claims and fresh ids are the same in every run."""
    text = re.sub(r"\b1\.\d+\.r", "1.n.r", str(value))
    text = re.sub(r"\b(whsec_[\w+/]+=*|wh_[\w-]+|msg_\w+)", "hook", text)
    text = re.sub(r"\b(fresh|token)-\d+", r"\1", text)
    text = re.sub(r"'nonce': '\w+'", "'nonce'", text)
    text = re.sub(r"\bwaited_ms=\d+", "waited_ms", text)
    text = re.sub(r"\bretire:\d+", "retire:hour", text)
    return re.sub(r"\d{9,}(-\d+)?", "T", text)


@pytest.fixture(autouse=True)
def no_other_faults(injection: Injection | None) -> None:
    """What is asserted here is told fault by fault."""
    if injection is not None:
        pytest.skip("--timeouts: these tests bring their own faults")


@pytest.fixture
def link(servers: Servers, tmp_path: Path) -> Iterator[FaultyLink]:
    """A link in front of a real server; it works in a thread of its own."""
    names = [name for name in ("valkey", "redis") if not why_absent(name)]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(faulty_link(servers.url(names[0]), tmp_path)) as made,
    ):
        yield made


@pytest.fixture
async def stage(link: FaultyLink) -> AsyncIterator[Callable[..., Any]]:
    """Sets a stage for a method, on an empty server; any number of times."""
    opened: list[Connection] = []
    direct = f"unix://{link.target}"

    async def close() -> None:
        while opened:
            await opened.pop().aclose()

    async def make(name: str, deadline_ms: int = DEADLINE_MS) -> Stage:
        await close()
        link.plan = healthy
        with redis.Redis.from_url(direct, retry=Retry(NoBackoff(), 0)) as client:
            client.flushall()
        world = World(Connection(direct, SystemClock()))
        scene = await CALLS[name].arrange(world)
        clock = Clock()
        spoiled = Connection(link.url, clock, deadline_ms=deadline_ms)
        opened.extend((world.connection, spoiled))
        link.seen.clear()
        return Stage(CALLS[name], scene, link, clock, spoiled)

    yield make
    await close()


def once(fault: Fault, position: int, *, greetings: bool = False) -> Plan:
    """Spoils the command at this position and no other; greetings count only if asked."""
    numbers = count()

    def plan(words: Words) -> Fault | None:
        counts = greetings or not is_greeting(words)
        return fault if counts and next(numbers) == position else None

    return plan


def deadline_of(fault: Fault) -> int:
    """Milliseconds for a call that meets this fault."""
    return SILENT_DEADLINE_MS if fault is SILENCE else DEADLINE_MS


def always(fault: Fault) -> Plan:
    """Spoils everything but greetings."""
    return lambda words: None if is_greeting(words) else fault


# ---------------------------------------------------------------- the table


def test_every_method_of_every_family_has_an_entry() -> None:
    families = get_type_hints(Store)
    found = {
        f"{family.name}.{name}"
        for family in fields(Store)
        if family.name != "connection"
        for name, _ in inspect.getmembers(families[family.name], inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert found == set(CALLS), "tests/store/calls.py has one entry for each public method"


# ---------------------------------------------------------------- every call


async def played(stage: Stage) -> tuple[str, str, dict[str, str]]:
    """The call without a fault: its answer, the one of a repeat, and what is stored after it."""
    answer = await stage.act()
    return masked(answer), masked(stage.call.again(answer)), await stage.stored()


@pytest.mark.req("ADM-1", "REA-3")
@pytest.mark.parametrize("name", CALLS)
async def test_each_answer_of_the_server_is_retried_refused_or_stops_the_call(
    stage: Callable[..., Any], link: FaultyLink, name: str
) -> None:
    expected, _, stored = await played(await stage(name))
    set_up: Stage = await stage(name)
    before = await set_up.stored()
    for text, row in SAMPLES.items():
        word = said(text)
        link.plan = always(word)
        link.seen.clear()
        set_up.clock.now_ms = 0
        with pytest.raises(KINDS[row.reaction]) as caught:
            await set_up.act()
        assert caught.value.code is row.code, text
        if row.reaction is Reaction.RETRY:
            assert len(link.seen) > 2, f"{text}: tried again"
            assert DEADLINE_MS / 2 < set_up.clock.now_ms <= DEADLINE_MS, f"{text}: to the deadline"
        else:
            assert len(link.seen) == 1, f"{text}: asked once"
    assert await set_up.stored() == before, "nothing was carried out"
    link.plan = healthy
    assert masked(await set_up.act()) == expected
    assert await set_up.stored() == stored


@pytest.mark.req("ADM-1", "REA-3")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
@pytest.mark.parametrize("name", CALLS)
async def test_each_fault_of_the_link_is_survived_and_the_call_has_its_effect_once(
    stage: Callable[..., Any], link: FaultyLink, name: str, fault: Fault
) -> None:
    expected, again, stored = await played(await stage(name))
    commands = len(link.seen)
    # A silence costs real time: the first command stands for all.
    for position in range(1 if fault is SILENCE else commands):
        set_up: Stage = await stage(name, deadline_of(fault))
        link.plan = once(fault, position)
        try:
            answer = await set_up.act()
        except Unavailable:
            assert set_up.call.waits, "only a blocking read leaves the repeat to its caller"
            assert position == commands - 1
            answer = await set_up.act()
        assert masked(answer) in ({expected, again} if fault.carried_out else {expected})
        assert await set_up.stored() == stored, position


@pytest.mark.req("ADM-1", "REA-3")
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_gave_up_although_it_was_carried_out_may_be_made_again(
    stage: Callable[..., Any], link: FaultyLink, name: str
) -> None:
    _, _, stored = await played(await stage(name))
    set_up: Stage = await stage(name)
    link.plan = always(RESET_AFTER)
    with pytest.raises(Unavailable):
        await set_up.act()
    assert len(link.seen) > 2, "it was tried again"
    link.plan = healthy
    await set_up.act()
    assert await set_up.stored() == stored


@pytest.mark.req("ADM-1", "REA-3")
@pytest.mark.parametrize("name", CALLS)
async def test_a_server_that_refuses_connections_is_waited_for(
    stage: Callable[..., Any], link: FaultyLink, name: str
) -> None:
    expected, _, stored = await played(await stage(name))
    set_up: Stage = await stage(name)
    before = await set_up.stored()
    link.take_down()
    with pytest.raises(Unavailable, match="refused"):
        await set_up.act()
    assert (link.seen, await set_up.stored()) == ([], before)

    def heal() -> None:
        link.bring_up()
        set_up.clock.heal = lambda: None

    set_up.clock.heal = heal
    assert masked(await set_up.act()) == expected
    assert await set_up.stored() == stored


# ---------------------------------------------------------------- while connecting


@pytest.mark.parametrize("text", SAMPLES)
async def test_an_answer_means_the_same_to_a_new_socket(
    stage: Callable[..., Any], link: FaultyLink, text: str
) -> None:
    set_up: Stage = await stage("timers.declare")
    link.plan = lambda _words: said(text)
    with pytest.raises(KINDS[SAMPLES[text].reaction]) as caught:
        await set_up.act()
    assert caught.value.code is SAMPLES[text].code
    with pytest.raises(KINDS[SAMPLES[text].reaction]):
        await set_up.connection.ping()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
async def test_a_fault_while_connecting_is_survived(
    stage: Callable[..., Any], link: FaultyLink, fault: Fault
) -> None:
    for position in range(3):  # two names of the client, then hello
        set_up: Stage = await stage("timers.declare", deadline_of(fault))
        link.plan = once(fault, position, greetings=True)
        await set_up.act()
        assert await set_up.scene.world.store.timers.pools() == ["a", "b", "default"]
