"""Function libraries of several versions on one server: who uses which, and when one is removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from actors.reaper.libraries import Librarian
from contracts.errors import ErrorCode, Misuse, Unavailable
from contracts.limits import LIBRARY_BACK_MS
from orch.store.connection import Connection
from orch.store.leases import Instance
from orch.store.libraries import Libraries
from orch.store.library import library
from orch.system import SystemClock
from tests.actors.fakes import FakeClock
from tests.store.engines import Servers, why_absent
from tests.store.world import World

OTHER = "orch_0123456789"
THIRD = "orch_abcdef0123"
KEEP_MS = 10_000


def code(name: str, function: str) -> str:
    """A library with one function, which answers 1."""
    return f"#!lua name={name}\nredis.register_function('{function}', function() return 1 end)"


async def look(librarian: Librarian) -> None:
    """One look; a server that cannot be reached is asked again, as the reaper does."""
    while True:
        try:
            await librarian.look()
        except Unavailable:
            continue
        return


@dataclass
class Rollout:
    """A reaper of this version, and instances of any."""

    world: World
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.libraries = Libraries(self.world.connection)
        self.librarian = self.reaper("reaper-1")

    def reaper(self, name: str) -> Librarian:
        """Another one, which remembers nothing."""
        leases = self.world.store.leases
        return Librarian(self.libraries, leases, self.clock, instance_id=name, keep_ms=KEEP_MS)

    async def load(self, name: str = OTHER) -> None:
        """As a process of another version does."""
        await self.world.redis("FUNCTION", "LOAD", "REPLACE", code(name, f"beat_{name[5:]}"))

    async def start(self, name: str, **about: str) -> None:
        """An instance; `library` is that of its version, ours unless told."""
        await self.world.store.leases.register(Instance(name, "fallback", about))

    async def looks(self, count: int = 2) -> list[str]:
        """So many looks, as far apart as a library is kept; what is there then."""
        for _ in range(count):
            await look(self.librarian)
            self.clock.now_ms += KEEP_MS
        return await self.libraries.names()


@pytest.fixture
async def rollout(world: World) -> AsyncIterator[Rollout]:
    """A server with nothing but our library; the functions of real servers outlive a flush."""
    if "model" in world.connection.url:
        pytest.skip("the model runs no Lua")
    await world.redis("FUNCTION", "FLUSH")
    await world.redis("FUNCTION", "LOAD", "REPLACE", library().code)
    made = Rollout(world)
    await world.store.leases.register(Instance("reaper-1", "reaper", {}))
    yield made
    await world.redis("FUNCTION", "FLUSH")
    await world.redis("FUNCTION", "LOAD", "REPLACE", library().code)


@pytest.mark.req("REA-1")
async def test_every_instance_registers_the_library_whose_functions_it_calls(
    rollout: Rollout,
) -> None:
    await rollout.start("ours")
    await rollout.start("theirs", library=OTHER)
    known = await rollout.world.store.leases.instances()
    assert {name: about["library"] for name, about in known.items()} == {
        "reaper-1": library().name, "ours": library().name, "theirs": OTHER,
    }  # fmt: skip


@pytest.mark.req("REA-1")
async def test_libraries_of_orch_are_listed_and_those_of_other_programs_are_not(
    rollout: Rollout,
) -> None:
    await rollout.load()
    for foreign in ("mine", "orch_older", "orch_0123456789_too"):
        await rollout.world.redis("FUNCTION", "LOAD", "REPLACE", code(foreign, f"{foreign}_f"))
    assert await rollout.libraries.names() == sorted([OTHER, library().name])


@pytest.mark.first_answers
async def test_a_library_is_removed_once_and_the_second_time_it_was_gone(rollout: Rollout) -> None:
    await rollout.load()
    assert [await rollout.libraries.remove(OTHER) for _ in range(2)] == [True, False]
    assert await rollout.libraries.names() == [library().name]


@pytest.mark.req("REA-1")
async def test_two_versions_live_side_by_side_and_the_old_library_goes_after_its_last_user(
    rollout: Rollout,
) -> None:
    await rollout.load()
    await rollout.start("old", library=OTHER)
    await rollout.start("new")
    both = sorted([OTHER, library().name])
    assert await rollout.looks(5) == both
    await rollout.world.store.leases.leave("old")
    assert await rollout.looks(1) == both, "it is kept for a while"
    assert await rollout.looks(1) == [library().name]


@pytest.mark.req("REA-1")
async def test_nothing_goes_while_an_instance_lives_that_does_not_say_what_it_uses(
    rollout: Rollout,
) -> None:
    await rollout.load()
    await rollout.world.connection.call("register", "ancient", "fallback", "{}", "", 0, 0)
    assert OTHER in await rollout.looks(5)
    await rollout.world.store.leases.leave("ancient")
    assert await rollout.looks() == [library().name]


async def test_nothing_goes_when_the_data_were_lost_until_who_lives_is_known_again(
    rollout: Rollout,
) -> None:
    await rollout.load()
    await rollout.start("old", library=OTHER)
    await rollout.looks()
    await rollout.world.redis("FLUSHALL")
    assert OTHER in await rollout.looks(5)
    await rollout.world.store.leases.register(Instance("reaper-1", "reaper", {}))
    await rollout.start("old", library=OTHER)
    assert OTHER in await rollout.looks(5)


async def test_one_that_comes_back_without_an_instance_is_left_for_a_day(rollout: Rollout) -> None:
    await rollout.load()
    assert await rollout.looks() == [library().name]
    await rollout.load()  # a producer of that version, which is no instance
    assert OTHER in await rollout.looks(5)
    rollout.clock.now_ms += LIBRARY_BACK_MS
    assert await rollout.looks(1) == [library().name]


async def test_any_number_of_reapers_may_do_it_and_a_new_one_waits_its_own_time(
    rollout: Rollout,
) -> None:
    await rollout.world.store.leases.register(Instance("reaper-2", "reaper", {}))
    second = rollout.reaper("reaper-2")
    await rollout.load()
    await rollout.load(THIRD)
    await look(rollout.librarian)
    rollout.clock.now_ms += KEEP_MS
    await look(second)
    assert OTHER in await rollout.libraries.names()
    await look(rollout.librarian)
    assert await rollout.libraries.names() == [library().name]
    rollout.clock.now_ms += KEEP_MS
    await look(second)
    assert await rollout.libraries.names() == [library().name]


@pytest.mark.req("REA-1")
@pytest.mark.parametrize(
    "engine", [n for n in ("valkey", "redis") if not why_absent(n)], indirect=True
)
@pytest.mark.first_answers
async def test_a_user_who_may_not_remove_libraries_keeps_them_and_works_on(
    rollout: Rollout, servers: Servers, engine: str
) -> None:
    world = rollout.world
    words = ("on", ">secret", "~*", "&*", "+@all", "-function|delete")
    await world.redis("ACL", "SETUSER", "bound", "reset", *words)
    path = servers.url(engine).removeprefix("unix://")
    bound = Connection(f"unix://bound@{path}?password=secret", SystemClock())
    try:
        await rollout.load()
        with pytest.raises(Misuse) as caught:
            await Libraries(bound).remove(OTHER)
        assert caught.value.code is ErrorCode.FORBIDDEN
        rollout.libraries = Libraries(bound)
        rollout.librarian = rollout.reaper("reaper-1")
        assert OTHER in await rollout.looks(5)
    finally:
        await bound.aclose()
        await world.redis("ACL", "DELUSER", "bound")


@pytest.mark.req("REA-3")
@pytest.mark.first_answers
async def test_who_calls_functions_of_a_removed_library_loads_it_again(rollout: Rollout) -> None:
    await rollout.libraries.remove(library().name)
    assert await rollout.libraries.names() == []
    await rollout.world.pool("a")
    assert await rollout.world.store.timers.pools() == ["a"]
    assert await rollout.libraries.names() == [library().name]
