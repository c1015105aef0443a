"""Rates, the measured pace and what follows from it: real servers, at a clock of the story."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.model.servers import Told
from tests.sim.model.telling import EPOCH_MS, Step

POLICY = "fair 60000 hi:8 lo:1"
POOL, RUNNER = "a", "r1"


class Shop:
    """One pool with one runner, whose jobs take as long as the test says."""

    def __init__(self, real: Told, *, slots: int, policy: str = POLICY) -> None:
        self.real, self.policy = real, policy
        self.now, self.calls, self.slots = EPOCH_MS, 0, slots
        self.running: list[tuple[str, str]] = []
        real.begin()
        about = f'{{"role":"runner","pool":"{POOL}","slots":{slots}}}'
        for name, *words in (
            ("hello", 0, "", 1),
            ("declare", POOL),
            ("register", RUNNER, "runner", about, POOL, slots, 0),
        ):
            self.say(name, *words)

    def say(self, name: str, *words: Any) -> Any:
        return self.real.do(Step(name, words, self.now))

    def submit(self, job_id: str, bounds: str = "queue_jobs_max=1000", **keys: Any) -> list[Any]:
        """The answer to one submission."""
        item = (
            job_id, "d", keys.get("tenant", "t"), POOL, keys.get("class_name", "lo"), "{}", 0,
            keys.get("deadline", 0), "", "", "", "", "", "",
        )  # fmt: skip
        answer: list[Any] = self.say("admit", "gateway", self.policy, bounds, "y", 1, *item)[3][0]
        return answer

    def cycle(self, ended: int) -> None:
        """So many jobs end now, and as many begin."""
        over, self.running = self.running[:ended], self.running[ended:]
        flat = [word for job_id, claim in over for word in ("settle", job_id, claim, "{}", "{}", 0)]
        self.calls += 1
        free = self.slots - len(self.running)
        head = (RUNNER, POOL, self.calls, free, f"x{self.calls}", self.policy, "", len(over))
        for offer in self.say("cycle", *head, *flat)[4]:
            self.running.append((offer[0], offer[1]))

    def work(self, times: int, every_ms: int, each: int = 1) -> None:
        for _ in range(times):
            self.now += every_ms
            self.cycle(each)

    def measured(self, waiting: int, every_ms: int) -> None:
        """Some have run, one every so many milliseconds; so many wait."""
        for n in range(self.slots + 20 + waiting):
            self.submit(f"w{n}")
        self.cycle(0)
        self.work(20, every_ms)


@pytest.mark.req("ADM-3")
def test_nothing_is_predicted_before_a_dispatch_was_measured(real: Told) -> None:
    shop = Shop(real, slots=1)
    assert shop.submit("a") == ["new", "a", "y", 0, 0]
    assert shop.submit("b") == ["new", "b", "q", 0, -1]
    assert shop.submit("c", "queue_jobs_max=1")[4:] == [1_000, "reject"]


@pytest.mark.req("ADM-3", "ADM-5")
def test_a_start_is_so_many_dispatches_away_as_go_before(real: Told) -> None:
    shop = Shop(real, slots=1)
    shop.measured(waiting=4, every_ms=500)
    assert shop.submit("b") == ["new", "b", "q", 4, 5 * 500]
    shop.now += 200
    assert shop.submit("c") == ["new", "c", "q", 5, 6 * 500 - 200]
    assert shop.submit("d", deadline=shop.now + 3_300)[:2] == ["refused", "DEADLINE_UNMET"]
    assert shop.submit("d", deadline=shop.now + 3_301)[:3] == ["new", "d", "q"]


@pytest.mark.req("ADM-3")
def test_a_full_queue_says_when_it_has_room_at_the_measured_pace(real: Told) -> None:
    shop = Shop(real, slots=1)
    shop.measured(waiting=4, every_ms=500)
    assert shop.submit("b", "queue_jobs_max=4")[3:] == [
        {"queue_depth": 4, "queue_jobs_max": 4}, 500, "reject",
    ]  # fmt: skip
    assert shop.submit("b", "queue_jobs_max=2")[4] == 3 * 500
    assert shop.submit("b", "queue_jobs_max=100 pool_jobs_max=3")[4] == 2 * 500
    shop.work(1, 500)
    assert shop.submit("b", "queue_jobs_max=4")[0] == "new"


@pytest.mark.req("ADM-3")
def test_rounds_of_many_jobs_weigh_as_single_jobs_do(real: Told) -> None:
    shop = Shop(real, slots=10)
    for n in range(100):
        shop.submit(f"w{n}")
    shop.cycle(0)
    shop.work(6, 1_000, each=10)
    assert shop.submit("b")[3:] == [30, 31 * 100]


@pytest.mark.req("ADM-3", "SCH-1")
@pytest.mark.parametrize(("policy", "low"), [(POLICY, 8), (POLICY.replace("fair", "strict"), 20)])
def test_classes_that_wait_take_their_share_before_it(real: Told, policy: str, low: int) -> None:
    shop = Shop(real, slots=1, policy=policy)
    shop.measured(waiting=0, every_ms=100)
    for n in range(20):
        shop.submit(f"h{n}", class_name="hi")
    first = shop.submit("low")
    second = shop.submit("low2")
    assert (first[3], second[3]) == (0, 1)
    assert (second[4] - first[4]) // 100 in ({8, 9} if low == 8 else {1})
    assert second[4] <= (20 + 2) * 100


@pytest.mark.req("ADM-3", "SCH-1")
def test_tenants_take_turns_before_it_and_a_newcomer_need_not_wait_for_a_long_line(
    real: Told,
) -> None:
    shop = Shop(real, slots=1)
    shop.measured(waiting=50, every_ms=100)
    assert shop.submit("new", tenant="u")[4] <= 2 * 100
    assert shop.submit("old", tenant="t")[4] >= 50 * 100


@pytest.mark.req("ADM-3")
def test_time_in_which_nobody_waited_or_nobody_served_is_no_measure(real: Told) -> None:
    shop = Shop(real, slots=1)
    shop.measured(waiting=0, every_ms=500)
    shop.work(1, 500)
    shop.now += 3_600_000
    shop.submit("x")
    shop.cycle(0)
    assert shop.submit("y")[4] == 500


@pytest.mark.req("ADM-4")
@pytest.mark.parametrize(("rate", "burst"), [(1, 3), (7, 2), (2, 1)])
def test_the_next_token_comes_to_the_millisecond_when_it_was_said(
    real: Told, rate: int, burst: int
) -> None:
    shop = Shop(real, slots=0)
    bounds = f"queue_jobs_max=1000 tenant_rate={rate} tenant_burst={burst}"
    for n in range(burst):
        assert shop.submit(f"j{n}", bounds)[0] == "new"
    for n in range(burst, burst + 5):
        refused = shop.submit(f"j{n}", bounds)
        assert refused[1] == "RATE_LIMITED"
        if refused[4] > 1:
            shop.now += refused[4] - 1
            assert shop.submit(f"j{n}", bounds)[4] == 1
            shop.now += 1
        else:
            shop.now += refused[4]
        assert shop.submit(f"j{n}", bounds)[0] == "new"
