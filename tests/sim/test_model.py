"""The model and the real functions answer alike and leave the same data behind, call by call.

`ORCH_MODEL_CALLS=1000000` tells longer stories than a test run has time for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import redis
from fakeredis import FakeRedis, FakeServer
from fakeredis._socket._fakesocket import FakeSocket
from redis.exceptions import ConnectionError as RedisConnectionError

from contracts.errors import Unavailable
from contracts.limits import CALLS_KEPT
from contracts.states import Event
from orch.system import SystemClock
from tests.sim.model import instances
from tests.sim.model.call import Call, Job
from tests.sim.model.client import ModelClient, connect_model
from tests.sim.model.server import ModelServer
from tests.sim.model.servers import Told, ToldModel, ToldRedis
from tests.sim.model.stories import Story
from tests.sim.model.telling import EPOCH_MS, POOLS, PREFIX, Step, Word
from tests.store.engines import info

CALLS = int(os.environ.get("ORCH_MODEL_CALLS", "10000"))
STORY_CALLS = 250
LOOK_EVERY = 10


def difference(seed: int, calls: int, model: ToldModel, real: Told, *, look_every: int) -> str:
    """The first step after which the two differ, told with what led to it; empty when they never do."""
    model.begin()
    real.begin()
    story = Story(seed, model.server)
    steps: list[Step] = []
    for n in range(1, calls + 1):
        step = story.step()
        steps.append(step)
        # The real one first: an entry is named by its place in the model before the call.
        answers = {"real": real.do(step), "model": model.do(step)}
        if answers["real"] != answers["model"]:
            return _told(seed, steps, answers)
        if n % look_every == 0 or n == calls:
            seen = {"real": real.look(), "model": model.look()}
            if seen["real"] != seen["model"]:
                return _told(seed, steps, _parts(seen["real"], seen["model"]))
    return ""


def _parts(real: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"real": real.get(name), "model": model.get(name)}
        for name in sorted(real.keys() | model.keys())
        if real.get(name) != model.get(name)
    }


def _told(seed: int, steps: list[Step], differing: object) -> str:
    lines = [f"seed {seed}, step {len(steps)}", *(str(step)[:500] for step in steps[-12:])]
    return "\n".join([*lines, str(differing)])


def first_difference(real: Told, calls: int, model: ToldModel) -> str:
    """Stories until `calls` were compared or one differs; then the very step that made it."""
    for seed in range(max(1, calls // STORY_CALLS)):
        if difference(seed, STORY_CALLS, model, real, look_every=LOOK_EVERY):
            return difference(seed, STORY_CALLS, model, real, look_every=1) or "only now and then"
    return ""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ToldRedis:
    monkeypatch.setattr(FakeSocket, "info", info, raising=False)
    return ToldRedis(FakeRedis(server=FakeServer(), decode_responses=True, protocol=2))


@pytest.mark.req("SIM-1", "SIM-4")
@pytest.mark.timeout(max(60, CALLS // 100))
def test_the_model_answers_as_the_functions_do_on_real_servers(real: ToldRedis) -> None:
    found = first_difference(real, CALLS, ToldModel())
    assert found == "", found


@pytest.mark.req("SIM-1", "SIM-4")
@pytest.mark.timeout(max(60, CALLS // 100))
def test_the_model_answers_as_the_functions_do_on_fakeredis(fake: ToldRedis) -> None:
    found = first_difference(fake, CALLS // 10, ToldModel())
    assert found == "", found


# -- a comparison that could not fail would prove nothing


class NoTickets(Call):
    """Old entries of a line count."""

    def holds_ticket(self, job: Job | None, state: str, ticket: str, pool: str = "") -> bool:
        return job is not None and job.state == state


class NoFence(Call):
    """Whoever held the job once may still end it."""

    def judge_claim(self, job: Job | None, claim: str) -> Any:
        return "ok" if job is not None and "claim" in job.fields else "over"


class ForgetsTimers(Call):
    """A job that leaves its line is still woken by its timer."""

    def leave_line(self, job: Job) -> None:
        if job.state == "q":
            self.deepen(job, -1)


class SlotsStay(Call):
    """An ended job's slot is not given back."""

    def free_slot(self, runner: str, job_id: str) -> None:
        pass


class TiesStay(Call):
    """Whoever ends keeps his key and his session."""

    def move(self, job: Job, event: Event, actor: str, payload: str = "{}") -> None:
        tied = job.fields.pop("ties", None)
        super().move(job, event, actor, payload)
        if tied is not None:
            job.fields["ties"] = tied


@pytest.mark.parametrize("mutant", [NoTickets, NoFence, ForgetsTimers, SlotsStay, TiesStay])
def test_a_model_that_forgets_a_duty_is_found_out(mutant: type[Call], real: ToldRedis) -> None:
    assert first_difference(real, 10_000, ToldModel(mutant))


def test_a_burial_without_comparing_the_beat_is_found_out(
    real: ToldRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "beat_unmoved", lambda _now, _counter: True)
    assert first_difference(real, 10_000, ToldModel())


# -- what the comparison has found in the functions

POLICY = "fair 1000 hi:1 lo:1"
HOUR_MS = 3_600_000


def tell(real: Told, *steps: Step) -> Any:
    """The last reply of a story on which both agree, step by step."""
    model, reply = ToldModel(), None
    real.begin()
    for step in (Step("hello", (0, "", 1), EPOCH_MS), Step("declare", POOLS, EPOCH_MS), *steps):
        reply = real.do(step)
        assert model.do(step) == reply, step
        assert model.look() == real.look(), step
    return reply


def runner(name: str, pool: str, slots: int, at_ms: int) -> Step:
    about = f'{{"role":"runner","pool":"{pool}","slots":{slots}}}'
    return Step("register", (name, "runner", about, pool, slots, 0), at_ms)


def submission(
    job_id: str, pool: str, class_name: str, at_ms: int, deadline_ms: int = 0, ties: str = ""
) -> Step:
    item = (job_id, "d", "t", pool, class_name, "{}", 0, deadline_ms, "", "", "", "", "", ties)
    return Step("admit", ("gateway", POLICY, "queue_jobs_max=100", "y", 1, *item), at_ms)


def cycle(name: str, pool: str, number: int, free: int, at_ms: int, *ending: Word) -> Step:
    head = (name, pool, number, free, f"x{number}", POLICY, "", 1 if ending else 0)
    return Step("cycle", (*head, *ending), at_ms)


def offered(reply: Any) -> list[str]:
    return [offer[0] for offer in reply[4]]


def test_an_entry_of_a_job_long_gone_is_no_place_of_a_new_one_in_another_pool(
    real: ToldRedis,
) -> None:
    later = EPOCH_MS + 3 * HOUR_MS
    reply = tell(
        real,
        submission("job", "b", "lo", EPOCH_MS),
        Step("cancel", ("job", '"by":"me"', "gateway", POLICY), EPOCH_MS),
        Step("retire", (0, 1_000, 24), later),
        submission("job", "a", "lo", later),
        runner("r3", "b", 1, later),
        cycle("r3", "b", 1, 1, later),
    )
    assert offered(reply) == []


def test_a_job_that_stands_twice_in_ready_is_claimed_once(real: ToldRedis) -> None:
    reply = tell(
        real,
        runner("r1", "a", 2, EPOCH_MS),
        submission("job", "a", "lo", EPOCH_MS),
        Step("XADD", (f"{PREFIX}ready:a", "*", "j", "job:2"), EPOCH_MS),
        cycle("r1", "a", 1, 2, EPOCH_MS),
    )
    assert offered(reply) == ["job"]


def test_a_deadline_says_nothing_of_a_job_whose_question_lapsed_in_the_same_call(
    real: ToldRedis,
) -> None:
    question = '{"question_id":"w","block_reason":"approval"}'
    tell(
        real,
        runner("r1", "a", 1, EPOCH_MS),
        submission("job", "a", "lo", EPOCH_MS, deadline_ms=EPOCH_MS + 9_000),
        cycle("r1", "a", 1, 1, EPOCH_MS),
        cycle("r1", "a", 2, 0, EPOCH_MS, "ask", "job", "1.1.x1", "{}", question, 5_000),
        Step("due", (1_000, POLICY), EPOCH_MS + 10_000),
    )
    seen = real.look()
    last = seen["job:job"]["seq"]
    assert seen["feed"][0][-1] == {"j": f"job:{last}"}, "no watcher waits for what never comes"


def test_a_class_is_as_old_as_its_head_once_a_stale_entry_has_left(real: ToldRedis) -> None:
    reply = tell(
        real,
        submission("canceled", "a", "hi", EPOCH_MS),
        Step("cancel", ("canceled", '"by":"me"', "gateway", POLICY), EPOCH_MS),
        submission("older", "a", "lo", EPOCH_MS + 50_000),
        submission("younger", "a", "hi", EPOCH_MS + 60_000),
        runner("r1", "a", 1, EPOCH_MS + 60_000),
        cycle("r1", "a", 1, 1, EPOCH_MS + 60_000),
    )
    assert offered(reply) == ["older"]


# -- calls that come again after others: what stories meet too seldom


def by_hand(job_id: str, at_ms: int, overlap: str = "replace") -> Step:
    head = ("gateway", POLICY, "queue_jobs_max=100", "t", "s", 1, 0, at_ms, 0, 0, overlap)
    item = (job_id, "d", "t", "a", "lo", "{}", 0, 0, "", "", "", "", "", "")
    return Step("fire", (*head, *item), EPOCH_MS + 1_000)


def test_as_many_fires_by_hand_are_known_again_as_the_limit_says(real: ToldRedis) -> None:
    fires = [by_hand(f"f{n}", EPOCH_MS + n) for n in range(CALLS_KEPT + 1)]
    timetable = Step("schedule", ("t", "s", "{}", 0, EPOCH_MS + HOUR_MS, "", "", "a"), EPOCH_MS)
    assert tell(real, timetable, *fires, fires[1])[0] == "same"
    assert tell(real, timetable, *fires, fires[0])[0] == "ok", "so many others came between"


def test_the_death_of_a_delivery_is_told_once_though_it_was_sent_once_more(
    real: ToldRedis,
) -> None:
    hook = Step("hook", ("put", "t", "h", '{"events":[]}', "", 9, 9), EPOCH_MS)
    member, about = "t:0:1:x", '{"at_ms":1}'
    dead = Step("deliver", ("t", "h", "0", "410", 1, member, 0, "dead", 0, about), EPOCH_MS + 1)
    again = Step("post", ("t", "h", 1, member, about), EPOCH_MS + 2)
    test = Step("post", ("t", "h", 1, member, ""), EPOCH_MS)
    on = Step("hook", ("on", "t", "h", "", "", 0, 0), EPOCH_MS + 2)
    reply = tell(real, hook, test, test, dead, dead, on, again, again, test, dead)
    assert reply[-1] == ["stale"]
    assert "off" not in real.look()["tally:t:h"]


# -- the client: blocked readers, and what they meet when the server stops

READ = ("XREADGROUP", "GROUP", "g", "me", "COUNT", 1, "NOACK", "BLOCK", 1_000, "STREAMS", "s", ">")


def server() -> ModelServer:
    made = ModelServer(SystemClock().wall_ms, "a" * 40)
    made.execute("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    return made


async def outcome(read: Callable[[], Any]) -> Any:
    try:
        reply = await read()
    except redis.RedisError as error:
        return type(error), str(error).split(" ", 1)[0]
    return [fields for _, entries in reply for _, fields in entries]


async def outcomes(made: ModelServer, readers: int, *acts: Callable[[], Any]) -> list[Any]:
    """What readers get that were blocked, in the order they came, while something happened."""
    found: list[Any] = [None] * readers

    async def read(n: int) -> None:
        found[n] = await outcome(lambda: ModelClient(made).execute_command(*READ))

    async with anyio.create_task_group() as tasks:
        for n in range(readers):
            tasks.start_soon(read, n)
            await anyio.lowlevel.checkpoint()
        for act in acts:
            act()
    return found


async def test_blocked_readers_are_served_in_the_order_in_which_they_came() -> None:
    made = server()
    add = [lambda n=n: made.execute("XADD", "s", "*", "n", n) for n in (1, 2)]
    assert await outcomes(made, 2, *add) == [[{"n": "1"}], [{"n": "2"}]]


async def test_a_reader_whose_stream_goes_is_told_so_at_once() -> None:
    made = server()
    found = await outcomes(made, 1, lambda: made.execute("DEL", "s"))
    assert found == [(redis.ResponseError, "NOGROUP")]


async def test_a_restart_fails_the_reads_that_wait() -> None:
    made = server()
    found = await outcomes(made, 1, lambda: made.restart("b" * 40))
    assert found == [(RedisConnectionError, "Connection")]


async def test_a_reader_that_is_gone_swallows_nothing() -> None:
    made = server()
    gone = ModelClient(made)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, lambda: gone.execute_command(*READ))
        await anyio.lowlevel.checkpoint()
        gone.disconnect()
    made.execute("XADD", "s", "*", "n", 1)
    assert await outcome(lambda: ModelClient(made).execute_command(*READ)) == [{"n": "1"}]


async def test_a_block_that_runs_out_answers_nothing() -> None:
    read = [1 if word == 1_000 else word for word in READ]
    assert await ModelClient(server()).execute_command(*read) == []


async def test_acknowledged_writes_that_a_rollback_took_are_counted() -> None:
    made = ModelServer(SystemClock().wall_ms, "a" * 40)
    connection = connect_model(made, SystemClock(), deadline_ms=0)
    await connection.call("declare", "a")
    before = made.snapshot()
    await connection.call("declare", "b")
    made.stop()
    with pytest.raises(Unavailable):
        await connection.ping()
    made.restart("b" * 40, before)
    assert await connection.execute("SMEMBERS", connection.keys.pools) == {"a"}
    mark = connection.watermark
    assert (mark.incarnation, mark.restarts, mark.lost_writes) == (2, 1, 1)


async def test_a_command_that_the_model_does_not_know_is_named() -> None:
    with pytest.raises(AssertionError, match="no command BITCOUNT"):
        await ModelClient(server()).execute_command("BITCOUNT", "s")
