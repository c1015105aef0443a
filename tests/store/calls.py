"""One call of every method of the store: what stands before it, how it is made, what a repeat answers.

`test_failures.py` drives each of them through every failure, and fails when a method has no entry here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from contracts.errors import ErrorCode, Refused
from contracts.tokens import Scope, TokenRecord
from orch.core.asks import Ask, JobFilter, LetterFilter
from orch.core.handover import EndingVerb, Pieces, Working
from orch.store.leases import Burial, Instance
from orch.store.repairs import START
from orch.store.store import Store
from orch.store.timers import Due
from tests.store.control_calls import CONTROL_CALLS
from tests.store.scenes import Call, Scene, empty, running, waiting
from tests.store.schedule_calls import SCHEDULE_CALLS
from tests.store.world import HOUR_MS, World, ending, spec, verdict

ALL_OVER_MS: Final = -2 * HOUR_MS
LINE: Final = "default:batch:default"
ONE_WAITS: Final = Counter({LINE: 1})
LATER_MS: Final = 4_000_000_000_000
"""Part of a spec, so it is the same in every run."""
TOKEN: Final = TokenRecord(
    name="ci", tenant="acme", scopes=[Scope.READ], sha256="0" * 64, created_at_ms=1
)


def ended(verb: EndingVerb) -> Callable[[World], Awaitable[Scene]]:
    async def arrange(world: World) -> Scene:
        scene = await running(world)
        assert scene.runner is not None
        assert scene.offer is not None
        await scene.runner.end(ending(verb, scene.offer))
        if verb == "release":
            scene.found = await world.undecided("job")
        return scene

    return arrange


async def dead(world: World) -> Scene:
    scene = await ended("release")(world)
    await world.decide("job", "fail")
    return scene


async def in_a_session(world: World) -> Scene:
    await world.pool()
    await world.submit("job", session="chat")
    await world.submit("next", session="chat")
    return Scene(world)


async def paused(world: World) -> Scene:
    scene = await waiting(world)
    await world.store.steering.pause("job", by="me")
    return scene


async def half_busy(world: World) -> Scene:
    """A runner with a job and a free slot, and a job for that."""
    runner = await world.runner(slots=2)
    await world.submit("job")
    offer = await runner.claim_one()
    await world.submit("next")
    return Scene(world, runner, offer)


async def parked(world: World) -> Scene:
    """A job whose time has come."""
    await world.pool()
    await world.submit("job", not_before_ms=LATER_MS)
    ticket = (await world.fields("job"))["ticket"]
    await world.redis("ZADD", world.connection.keys.due, 1, f"later:job:{ticket}")
    return Scene(world)


async def with_room(world: World) -> Scene:
    """Two jobs in line, and a runner that came after them."""
    await world.pool()
    await world.submit_many("job", 2)
    return Scene(world, await world.runner(slots=2))


async def without_room(world: World) -> Scene:
    """A dispatched job whose runner has no slot any more."""
    runner = await world.runner(slots=1)
    await world.submit("job")
    await world.store.leases.register(Instance(runner.runner_id, "runner", {}, "default", 0))
    return Scene(world, runner)


async def over(world: World) -> Scene:
    await world.pool()
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    return Scene(world)


async def asked_raw(world: World) -> Scene:
    """A raw request that admission has read."""
    keys = world.connection.keys
    await world.store.leases.register(Instance("adm", "admission", {}))
    entry = await world.redis("XADD", keys.requests, "*", "request_id", "request", "spec", "{")
    await world.redis("XREADGROUP", "GROUP", "admission", "adm", "STREAMS", keys.requests, ">")
    return Scene(world, found=entry)


async def reaper(world: World) -> Scene:
    await world.store.leases.register(Instance("reaper", "reaper", {}))
    return Scene(world)


async def silent(world: World) -> Scene:
    """A runner with a job, and the beat that was seen of it."""
    scene = await running(world)
    scene.found = (await world.store.leases.beats())[scene.runner_id]
    return scene


async def spoken(world: World) -> Scene:
    scene = await running(world)
    await world.store.output.emit([Pieces("job", scene.claim, 1, [("stdout", "x")])])
    return scene


async def unlisted(world: World) -> Scene:
    scene = await waiting(world)
    await world.redis("DEL", world.connection.keys.jobs("default"))
    return scene


async def without_line(world: World) -> Scene:
    scene = await waiting(world)
    await world.redis("DEL", world.connection.keys.line(LINE))
    return scene


async def gathered(world: World) -> Scene:
    """A line that is gone, and its job collected for it."""
    scene = await without_line(world)
    await world.store.repairs.page(START, most=1_000, gathers=[LINE])
    return scene


async def miscounted(world: World) -> Scene:
    scene = await waiting(world)
    await world.redis("HSET", world.connection.keys.counters, "depth:default:batch", 7)
    scene.found = await world.store.repairs.moves()
    return scene


async def with_token(world: World) -> Scene:
    scene = Scene(world)
    await world.store.tokens.create("t1", TOKEN)
    return scene


async def at_the_feed(world: World) -> Scene:
    scene = await waiting(world)
    scene.found = "0-1"
    return scene


# ---------------------------------------------------------------- what the call is


async def _admit(store: Store, _scene: Scene) -> Any:
    keyed = Ask(spec(name="keyed"), idempotency_key="k")
    return await store.admission.admit([Ask(spec(id="job")), keyed])


async def _refuse(store: Store, scene: Scene) -> Any:
    no = Refused(ErrorCode.INVALID_SPEC, "no spec")
    return await store.admission.refuse(scene.found, "request", no)


async def _cycle(store: Store, scene: Scene) -> Any:
    assert scene.offer is not None
    endings = [ending("settle", scene.offer)]
    return await store.claims.cycle(
        scene.runner_id, "default", number=9, free=1, random="r9", endings=endings
    )


async def _note(store: Store, scene: Scene) -> Any:
    return await store.claims.note(
        "job", scene.claim, number=1, event="agent_continued", payload={}, progress={"at": 1}
    )


async def _reclaim(store: Store, scene: Scene) -> Any:
    offer = scene.offer
    assert offer is not None
    at_work = Working("job", offer.claim, offer.epoch, offer.attempt, notes=0, progress="")
    return await store.claims.reclaim(scene.runner_id, "default", [at_work])


async def _jobs(store: Store, _scene: Scene) -> Any:
    return await store.reading.jobs(JobFilter(), limit=9, cursor=None)


async def _tail_and_read(store: Store, scene: Scene) -> Any:
    await store.feed.tail()  # as a reader begins: it takes the incarnation in
    _, touched, _ = await store.feed.read(scene.found, block_ms=1_000)
    return touched


def _none(_first: Any) -> Any:
    return 0


def _without_places(first: Any) -> Any:
    return [one.model_copy(update={"queue_position": None}) for one in first]


def _as_same(first: Any) -> Any:
    return type(first)(["same" for _ in first.judgements], first.offers)


CALLS: Final[Mapping[str, Call]] = MappingProxyType(
    {
        **CONTROL_CALLS,
        "admission.admit": Call(empty, _admit, _without_places),
        "admission.refuse": Call(asked_raw, _refuse),
        "admission.overflow": Call(asked_raw, lambda store, _: store.admission.overflow(most=9)),
        "claims.cycle": Call(half_busy, _cycle, _as_same),
        "claims.held": Call(running, lambda store, scene: store.claims.held(scene.runner_id)),
        "claims.is_over": Call(
            ended("release"), lambda store, scene: store.claims.is_over("job", scene.claim)
        ),
        "claims.pass_on": Call(
            empty, lambda store, _: store.claims.pass_on("default"), twice=frozenset({"wake"})
        ),
        "claims.note": Call(running, _note),
        "claims.reclaim": Call(running, _reclaim),
        "sessions.page": Call(
            in_a_session,
            lambda store, _: store.sessions.page(tenant="default", limit=9, cursor=None),
        ),
        "sessions.show": Call(
            in_a_session, lambda store, _: store.sessions.show("default", "chat")
        ),
        "dead_letters.page": Call(
            dead, lambda store, _: store.dead_letters.page(LetterFilter(), limit=9, cursor=None)
        ),
        "dead_letters.replay": Call(
            dead, lambda store, _: store.dead_letters.replay(["job"], by="me")
        ),
        "feed.tail": Call(waiting, lambda store, _: store.feed.tail()),
        "feed.read": Call(at_the_feed, _tail_and_read, waits=True),
        "leases.register": Call(
            empty,
            lambda store, _: store.leases.register(Instance("r", "runner", {}, "default", 2)),
        ),
        "leases.beat": Call(
            reaper,
            lambda store, _: store.leases.beat("reaper"),
            twice=frozenset({"beats", "seen"}),
        ),
        "leases.leave": Call(reaper, lambda store, _: store.leases.leave("reaper")),
        "leases.beats": Call(running, lambda store, _: store.leases.beats()),
        "leases.instances": Call(running, lambda store, _: store.leases.instances()),
        "leases.strays": Call(asked_raw, lambda store, _: store.leases.strays()),
        "leases.bury": Call(
            silent,
            lambda store, scene: store.leases.bury(scene.runner_id, scene.found, age_ms=1, most=9),
            lambda _first: Burial(done=False),
        ),
        "outcomes.load": Call(
            ended("release"),
            lambda store, scene: store.outcomes.load("job", scene.found.seq, "0-1"),
        ),
        "outcomes.decide": Call(
            ended("release"),
            lambda store, scene: store.outcomes.decide([verdict(scene.found, "fail")]),
            lambda _first: [False],
        ),
        "outcomes.announce": Call(
            ended("release"),
            lambda store, _: store.outcomes.announce(older_ms=-HOUR_MS, again_ms=HOUR_MS, most=9),
            _none,
            twice=frozenset({"outcomes"}),
        ),
        "output.emit": Call(
            running,
            lambda store, scene: store.output.emit(
                [Pieces("job", scene.claim, 1, [("stdout", "x")])]
            ),
            twice=frozenset({"feed"}),
        ),
        "output.read": Call(spoken, lambda store, _: store.output.read("job", after=0, limit=9)),
        "questions.answer": Call(
            ended("ask"), lambda store, _: store.questions.answer("job", "q1", "approve", by="me")
        ),
        "reading.job": Call(running, lambda store, _: store.reading.job("job")),
        "reading.moments": Call(running, lambda store, _: store.reading.moments("job")),
        "reading.carried": Call(running, lambda store, _: store.reading.carried("job")),
        "reading.tagged": Call(running, lambda store, _: store.reading.tagged("job")),
        "reading.question": Call(ended("ask"), lambda store, _: store.reading.question("job")),
        "reading.ledger": Call(
            running, lambda store, _: store.reading.ledger("job", after=0, limit=9)
        ),
        "reading.output": Call(
            spoken, lambda store, _: store.reading.output("job", after=0, limit=9)
        ),
        "reading.artifacts": Call(running, lambda store, _: store.reading.artifacts("job")),
        "reading.check_tenant": Call(
            running, lambda store, _: store.reading.check_tenant("job", "default")
        ),
        "reading.claim_of": Call(running, lambda store, _: store.reading.claim_of("job")),
        "reading.explain": Call(waiting, lambda store, _: store.reading.explain("job")),
        "reading.jobs": Call(running, _jobs),
        "repairs.page": Call(
            unlisted,
            lambda store, _: store.repairs.page(START, most=1_000, gathers=[LINE]),
            lambda first: replace(first, repairs=[]),
        ),
        "repairs.realign": Call(
            gathered, lambda store, _: store.repairs.realign(most=9), lambda _first: (0, [])
        ),
        "repairs.moves": Call(waiting, lambda store, _: store.repairs.moves()),
        "repairs.short_lines": Call(
            without_line, lambda store, _: store.repairs.short_lines(ONE_WAITS)
        ),
        "repairs.wrong": Call(
            miscounted, lambda store, _: store.repairs.wrong(ONE_WAITS, Counter())
        ),
        "repairs.recount": Call(
            miscounted,
            lambda store, scene: store.repairs.recount(scene.found, {"depth:default:batch": 1}),
            lambda _first: [],
        ),
        "steering.cancel": Call(running, lambda store, _: store.steering.cancel("job", by="me")),
        "steering.pause": Call(waiting, lambda store, _: store.steering.pause("job", by="me")),
        "steering.resume": Call(paused, lambda store, _: store.steering.resume("job", by="me")),
        "timers.due": Call(
            parked, lambda store, _: store.timers.due(most=9), lambda _: Due(0, -1, ())
        ),
        "timers.dispatch": Call(
            with_room, lambda store, _: store.timers.dispatch("default", most=9), _none
        ),
        "timers.unready": Call(
            without_room, lambda store, _: store.timers.unready("default", most=9), _none
        ),
        "timers.retire": Call(
            over,
            lambda store, _: store.timers.retire(retention_ms=ALL_OVER_MS, most=9, hours=9),
            _none,
        ),
        **SCHEDULE_CALLS,
        "timers.declare": Call(empty, lambda store, _: store.timers.declare(["a", "b"])),
        "timers.pools": Call(empty, lambda store, _: store.timers.pools()),
        "tokens.create": Call(empty, lambda store, _: store.tokens.create("t2", TOKEN)),
        "tokens.find": Call(with_token, lambda store, _: store.tokens.find("t1")),
        "tokens.all": Call(with_token, lambda store, _: store.tokens.all()),
        "tokens.revoke": Call(
            with_token, lambda store, _: store.tokens.revoke("t1"), lambda _first: None
        ),
        "tokens.agent_key": Call(empty, lambda store, _: store.tokens.agent_key("fresh")),
    }
)
"""By family and method; complete, as a test proves by reflection."""
