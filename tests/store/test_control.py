"""Operators' commands: applied in the order of the stream, obeyed by who claims, and acknowledged (CTL)."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.commands import CommandStatus
from contracts.control import make_command
from contracts.errors import ErrorCode, Refused
from orch.store.leases import Instance
from tests.store.commanding import acknowledge, apply_all, by_hand, command, desired, given
from tests.store.world import World

QUEUE_OF_5 = {"queue:default:hi:queue_jobs_max": "5"}
REJECTS = {"pool:p:full_policy": "reject"}
WEIGHT_GONE = {"limit": "weight", "value": None}


# ---------------------------------------------------------------- from the stream to the desired state


@pytest.mark.req("CTL-1", "CTL-2")
@pytest.mark.parametrize(
    ("name", "target", "args", "fields"),
    [
        ("drain", "pool:default", {}, {"pool:default:drain": "c1"}),
        ("drain", "*", {}, {"*:drain": "c1"}),
        ("pause", "pool:default", {}, {"pool:default:intake": "paused", "pool:default:dispatch": "paused"}),
        ("pause", "tenant:t", {"what": "intake"}, {"tenant:t:intake": "paused"}),
        ("pause", "queue:default:batch", {"what": "dispatch"}, {"queue:default:batch:dispatch": "paused"}),
        ("pause", "*", {}, {"*:intake": "paused", "*:dispatch": "paused"}),
        ("set-limit", "queue:default:hi", {"limit": "queue_jobs_max", "value": 5}, QUEUE_OF_5),
        ("set-limit", "pool:p", {"limit": "full_policy", "value": "reject"}, REJECTS),
        ("set-limit", "tenant:t", {"limit": "rate", "value": 0.5}, {"tenant:t:rate": "0.5"}),
        ("set-limit", "key:t:k", {"limit": "running_max", "value": 2}, {"key:t:k:running_max": "2"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
async def test_a_command_stands_in_the_desired_state(
    world: World, name: str, target: str, args: dict[str, Any], fields: dict[str, str]
) -> None:
    await world.pool("default", "p")
    record = await given(world, name, target, **args)
    assert await desired(world) == {**fields, "rev": "1"}
    assert (record.status, record.revision, record.by) == (CommandStatus.DONE, 1, "me")
    assert await world.store.control.waiting(most=9) == []
    assert await world.store.control.newest() != "0-0", "it is announced"


@pytest.mark.req("CTL-1")
@pytest.mark.parametrize(
    ("name", "target", "args", "back", "args_back"),
    [
        ("drain", "pool:default", {"deadline_ms": 60_000}, "undrain", {}),
        ("pause", "*", {}, "resume", {}),
        ("pause", "tenant:t", {"what": "dispatch"}, "resume", {"what": "dispatch"}),
        ("set-limit", "tenant:t", {"limit": "weight", "value": 3}, "set-limit", WEIGHT_GONE),
    ],
)  # fmt: skip
async def test_what_was_commanded_is_taken_back(
    world: World, name: str, target: str, args: dict[str, Any], back: str, args_back: dict[str, Any]
) -> None:
    await world.pool()
    await given(world, name, target, **args)
    await given(world, back, target, "c2", **args_back)
    assert await desired(world) == {"rev": "2"}


@pytest.mark.req("CTL-1")
async def test_a_gate_is_opened_apart_from_the_other(world: World) -> None:
    await given(world, "pause", "tenant:t")
    await given(world, "resume", "tenant:t", "c2", what="intake")
    assert await desired(world) == {"tenant:t:dispatch": "paused", "rev": "2"}


@pytest.mark.req("CTL-2")
@pytest.mark.first_answers
async def test_a_command_by_hand_works_exactly_like_one_through_a_door(world: World) -> None:
    await world.pool()
    await by_hand(world, id="mine", command="drain", target="pool:default")
    assert await apply_all(world) == ["done"]
    record = await world.store.control.command("mine")
    assert (record.command, record.target, record.by) == ("drain", "pool:default", "control")
    assert record.outcome == {"force_stopped": 0, "left": 0, "duration_ms": 0}
    told = await world.redis("XRANGE", world.connection.keys.acks, "-", "+")
    assert [fields["what"] for _, fields in told] == ["applied", "done"]


@pytest.mark.req("CTL-2")
@pytest.mark.first_answers
async def test_whoever_reads_what_commands_are_applied_in_the_order_of_the_stream(
    world: World,
) -> None:
    await world.pool()
    first = await by_hand(world, id="a", command="drain", target="pool:default")
    second = await by_hand(world, id="b", command="undrain", target="pool:default")
    (_, drain), (_, undrain) = await world.store.control.waiting(most=9)
    control = world.store.control
    assert await control.apply(second, undrain) is None, "an older one waits"
    assert await desired(world) == {}
    assert await control.apply(first, drain) == "done"
    assert await control.apply(first, drain) == "settled", "another scheduler did it"
    assert await control.apply(second, undrain) == "done"
    assert await desired(world) == {"rev": "2"}


@pytest.mark.req("CTL-2")
async def test_a_command_that_a_dead_scheduler_had_read_is_applied_by_the_next(
    world: World,
) -> None:
    await world.pool()
    keys = world.connection.keys
    await world.store.leases.register(Instance("s1", "scheduler", {}))
    await by_hand(world, id="a", command="drain", target="pool:default")
    read = ("XREADGROUP", "GROUP", "control", "s1", "COUNT", 9, "STREAMS", keys.control, ">")
    assert await world.redis(*read)
    beat = (await world.store.leases.beats())["s1"]
    await world.store.leases.bury("s1", beat, age_ms=1, most=9)
    await by_hand(world, id="b", command="pause", target="*")
    assert len(await apply_all(world)) == 2
    records = [await world.store.control.command(one) for one in ("a", "b")]
    assert [(one.status, one.revision) for one in records] == [
        (CommandStatus.DONE, 1),
        (CommandStatus.DONE, 2),
    ]
    assert (await desired(world))["rev"] == "2"


# ---------------------------------------------------------------- refused


async def refusal(world: World, command_id: str) -> tuple[CommandStatus, ErrorCode | None]:
    record = await world.store.control.command(command_id)
    return record.status, record.error.code if record.error else None


@pytest.mark.req("CTL-2")
@pytest.mark.first_answers
async def test_a_repeated_id_is_refused_at_the_door_and_in_the_stream(world: World) -> None:
    await world.pool()
    control, once = world.store.control, command("drain", "pool:default")
    await control.push(once)
    await control.push(once)
    assert len(await control.waiting(most=9)) == 1, "the same call again is no second command"
    again = make_command("c1", "pause", "*", {}, token="another")
    with pytest.raises(Refused) as refused:
        await control.push(again)
    assert refused.value.code is ErrorCode.DUPLICATE_COMMAND
    entry = await by_hand(world, id="c1", command="pause", target="*")
    assert await apply_all(world) == ["done", "refused"]
    assert await refusal(world, entry) == (CommandStatus.REFUSED, ErrorCode.DUPLICATE_COMMAND)
    assert (await control.command("c1")).command == "drain", "the record of the first stays"
    assert await desired(world) == {"pool:default:drain": "c1", "rev": "1"}


@pytest.mark.req("CTL-1")
async def test_who_read_a_command_before_its_entry_id_was_given_again_leaves_the_new_one_alone(
    world: World,
) -> None:
    await world.pool()
    control, keys = world.store.control, world.connection.keys
    await by_hand(world, id="c1", command="pause", target="pool:default")
    ((entry, fields),) = await control.waiting(most=9)
    # Data went back, and the server's clock with them: under this id stands another command.
    await world.redis("DEL", keys.control)
    other = {"v": "1", "id": "c2", "command": "drain", "target": "pool:default", "args": "{}"}
    words = [word for pair in other.items() for word in pair]
    await world.redis("XADD", keys.control, entry, *words)
    assert await control.apply(entry, fields) == "settled"
    assert await apply_all(world) == ["done"]
    assert (await control.command("c2")).status is CommandStatus.DONE
    with pytest.raises(Refused, match="no command 'c1'"):
        await control.command("c1")


@pytest.mark.req("CTL-2")
async def test_if_revision_guards_against_a_lost_update(world: World) -> None:
    await given(world, "pause", "*", "c1", if_revision=0)
    record = await given(world, "resume", "*", "c2", if_revision=0)
    assert record.status is CommandStatus.REFUSED
    assert record.error is not None
    assert record.error.code is ErrorCode.REVISION_CONFLICT
    assert record.error.details == {"if_revision": 0, "revision": 1}
    assert (await desired(world))["*:intake"] == "paused", "nothing has changed"
    assert (await given(world, "resume", "*", "c3", if_revision=1)).revision == 2


@pytest.mark.req("CTL-1")
@pytest.mark.parametrize("target", ["pool:typo", "queue:typo:batch", "runner:nobody"])
async def test_what_is_not_there_cannot_be_commanded(world: World, target: str) -> None:
    await world.pool()
    name = "pause" if target.startswith("queue") else "drain"
    record = await given(world, name, target)
    assert (record.status, record.revision) == (CommandStatus.REFUSED, None)
    assert record.error is not None
    assert record.error.code is ErrorCode.NOT_FOUND
    assert await desired(world) == {}


@pytest.mark.req("CTL-1")
@pytest.mark.first_answers
async def test_a_malformed_entry_gets_a_record_and_stops_nobody(world: World) -> None:
    await world.pool()
    entry = str(await world.redis("XADD", world.connection.keys.control, "*", "x", "1"))
    await by_hand(world, id="bad args", command="drain", target="pool:default")
    await by_hand(world, id="bad", command="drain", target="pool:default", args="{")
    await by_hand(world, id="good", command="drain", target="pool:default")
    assert await apply_all(world) == ["refused", "refused", "refused", "done"]
    assert await refusal(world, entry) == (CommandStatus.REFUSED, ErrorCode.INVALID_REQUEST)
    assert await refusal(world, "bad") == (CommandStatus.REFUSED, ErrorCode.INVALID_REQUEST)
    assert (await world.store.control.commands(limit=9)).commands[0].command_id == "good"
    assert len((await world.store.control.commands(limit=9)).commands) == 4


@pytest.mark.req("CTL-1")
@pytest.mark.first_answers
async def test_too_many_waiting_commands_are_refused_at_the_door(world: World) -> None:
    script = [str(n) for n in range(1_000)]
    for n in script:
        await world.redis("XADD", world.connection.keys.control, "*", "n", n)
    with pytest.raises(Refused) as refused:
        await world.store.control.push(command("pause", "*"))
    assert refused.value.code is ErrorCode.QUEUE_FULL
    with pytest.raises(Refused):
        await world.store.control.command("c1")


# ---------------------------------------------------------------- acknowledgements


@pytest.mark.req("CTL-2")
async def test_each_instance_that_it_concerns_is_waited_for_and_nobody_else(world: World) -> None:
    runner, other = await world.runner(), await world.runner(pool="other")
    for name in ("admission", "gateway", "scheduler", "reaper"):
        await world.store.leases.register(Instance(name, name, {}))
    drained = await given(world, "drain", "pool:default")
    paused = await given(world, "pause", "pool:default", "c2", what="intake")
    both = await given(world, "pause", "*", "c3")
    limited = await given(world, "set-limit", "tenant:t", "c4", limit="weight", value=2)
    assert drained.expected == [runner.runner_id]
    assert paused.expected == ["admission", "gateway"]
    everybody = sorted(["admission", "gateway", "scheduler", runner.runner_id, other.runner_id])
    assert both.expected == everybody
    assert limited.expected == ["admission", "gateway", "scheduler"]


@pytest.mark.req("CTL-2", "CTL-5")
async def test_acknowledging_a_revision_acknowledges_all_before_it(world: World) -> None:
    await world.store.leases.register(Instance("g1", "gateway", {}))
    await given(world, "pause", "*", "c1", what="intake")
    await given(world, "resume", "*", "c2", what="intake")
    await given(world, "pause", "*", "c3", what="intake")
    control = world.store.control
    await control.acknowledge("g1", 2)
    standing = [(await control.command(one)).status for one in ("c1", "c2", "c3")]
    assert standing == [CommandStatus.DONE, CommandStatus.DONE, CommandStatus.APPLIED]
    await control.acknowledge("g1", 1)
    await control.acknowledge("stranger", 3)
    assert (await control.command("c3")).waiting == ["g1"], "late and foreign words are harmless"
    await control.acknowledge("g1", 3)
    assert (await control.command("c3")).status is CommandStatus.DONE


@pytest.mark.req("CTL-2")
@pytest.mark.parametrize("how", ["bury", "leave"])
async def test_who_is_gone_is_not_waited_for(world: World, how: str) -> None:
    one, two = await world.runner(), await world.runner()
    await given(world, "drain", f"runner:{two.runner_id}", "c0")
    await given(world, "drain", "pool:default")
    await acknowledge(world, one, 2, command_id="c1", force_stopped=0, left=0)
    if how == "bury":
        await world.bury(two)
    else:
        await world.store.leases.leave(two.runner_id)
    record = await world.store.control.command("c1")
    assert (record.status, record.waiting) == (CommandStatus.DONE, [])
    assert record.outcome is not None
    assert record.outcome["gone"] == [two.runner_id]
    assert f"runner:{two.runner_id}:drain" not in await desired(world), "nobody is meant any more"


@pytest.mark.req("CTL-4")
async def test_a_reload_without_a_supervisor_fails_and_one_whose_supervisor_died_too(
    world: World,
) -> None:
    alone = await given(world, "reload", "*")
    assert (alone.status, alone.expected) == (CommandStatus.FAILED, [])
    assert alone.outcome == {"reason": "no supervisor lives that could reload"}
    about = {"serves": "default other"}
    await world.store.leases.register(Instance("s1", "supervisor", about))
    await world.store.leases.register(Instance("s2", "supervisor", {"serves": "third"}))
    await world.pool()
    record = await given(world, "reload", "pool:default", "c2")
    assert record.expected == ["s1"]
    await world.store.control.acknowledge("s1", 2)
    await world.store.leases.bury("s1", (await world.store.leases.beats())["s1"], age_ms=1, most=9)
    assert (await world.store.control.command("c2")).status is CommandStatus.FAILED
