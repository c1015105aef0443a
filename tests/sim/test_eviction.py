"""Who is let in, who gives way and in which order, on real servers: as a plain reference says (ADM-2).

Hypothesis makes up submissions, cancels, claims and jobs that come back, and shrinks what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sim.model.servers import Told
from tests.sim.model.telling import EPOCH_MS, Step
from tests.sim.reference import CLASSES, Bounds, Waiting, Waits

POLICY = "fair 60000 hi:8 mid:3 lo:1"
POOL, RUNNER = "a", "r1"
EXAMPLES = 60

BOUNDS = st.builds(
    Bounds,
    policy=st.sampled_from(
        ("drop-lru", "shed-low-priority", "drop-lru", "shed-low-priority", "reject")
    ),
    queue_max=st.sampled_from((0, 3, 5, 100, 100)),
    pool_max=st.sampled_from((0, 1, 4, 6, 8)),
    tenant_max=st.sampled_from((0, 0, 0, 1, 3)),
)
ITEM = st.tuples(st.sampled_from(CLASSES), st.sampled_from(("t1", "t2", "t3")))
ACT = st.one_of(
    st.tuples(st.just("submit"), st.lists(ITEM, min_size=1, max_size=6)),
    st.tuples(st.just("submit"), st.lists(ITEM, min_size=1, max_size=6)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("hand back"), st.integers(0, 30)),
    st.tuples(st.just("pass"), st.integers(1, 3)),
)


@dataclass(slots=True)
class Tale:
    """The same acts, told to a server and to the reference."""

    real: Told
    bounds: Bounds
    waiting: Waiting
    now: int = EPOCH_MS
    arrivals: int = 0
    calls: int = 0
    claimed: dict[str, tuple[Waits, str]] = field(default_factory=dict)

    def say(self, name: str, *words: Any) -> Any:
        return self.real.do(Step(name, words, self.now))

    def slots(self, count: int) -> None:
        about = f'{{"role":"runner","pool":"{POOL}","slots":{count}}}'
        self.say("register", RUNNER, "runner", about, POOL, count, 0)

    def jobs(self) -> dict[str, dict[str, str]]:
        found = self.real.look()
        return {
            name.removeprefix("job:"): one for name, one in found.items() if name.startswith("job:")
        }

    # -- acts

    def submit(self, items: list[tuple[str, str]]) -> None:
        before, answers, expected = self.real.look(), [], []
        words: list[Any] = []
        for n, (class_name, tenant) in enumerate(items):
            job_id = f"j{self.calls}-{n}"
            words += (job_id, "d", tenant, POOL, class_name, "{}", 0, 0)
            words += ("",) * 6
            age = (self.now, (self.arrivals + 1) % 4_096)
            told = self.waiting.submit(Waits(job_id, class_name, tenant, age))
            self.arrivals += told == "new"
            expected.append(told)
        reply = self.say("admit", "gateway", POLICY, self.bounds.text(), "y", len(items), *words)
        answers = ["new" if one[0] == "new" else one[5] for one in reply[3]]
        assert answers == expected, reply
        if "new" not in expected:
            assert _without_count(self.real.look()) == _without_count(before), (
                "a refusal changed something"
            )

    def cancel(self, n: int) -> None:
        waiting = self.waiting.all()
        if waiting:
            job_id = waiting[n % len(waiting)].job_id
            self.say("cancel", job_id, '"by":"me"', "gateway", POLICY)
            self.waiting.leave(job_id)

    def claim(self, count: int) -> None:
        self.slots(len(self.claimed) + count)
        reply = self.say("cycle", RUNNER, POOL, self.calls, count, f"x{self.calls}", POLICY, "", 0)
        for offer in reply[4]:
            assert offer[0] in self.waiting.heads(), "only who stands first is given out"
            job = self.waiting.leave(offer[0])
            assert job is not None
            self.claimed[offer[0]] = job, offer[1]
        assert len(reply[4]) == count or not self.waiting.all()
        self.slots(0)

    def hand_back(self, n: int) -> None:
        if self.claimed:
            job_id = list(self.claimed)[n % len(self.claimed)]
            job, claim = self.claimed.pop(job_id)
            ending = ("handback", job_id, claim, "{}", "", 0)
            self.say("cycle", RUNNER, POOL, self.calls, 0, f"x{self.calls}", POLICY, "", 1, *ending)
            self.waiting.come_back(replace(job, age=(self.now, job.age[1])))

    def act(self, name: str, value: Any) -> None:
        self.calls += 1
        if name == "pass":
            self.now += value
        else:
            getattr(self, name.replace(" ", "_"))(value)

    def compare(self) -> None:
        """Who waits and who gave way, to whom."""
        jobs = self.jobs()
        waiting = {job_id for job_id, job in jobs.items() if job["state"] == "q"}
        assert waiting == {job.job_id for job in self.waiting.all()}
        gave_way = {
            job_id: job[job["seq"]].partition('"newcomer":"')[2].partition('"')[0]
            for job_id, job in jobs.items()
            if "evict:" in job[job["seq"]]
        }
        assert gave_way == self.waiting.evicted


def _without_count(data: dict[str, Any]) -> dict[str, Any]:
    """The number of the call is counted, and entries of lines that are nobody's place may be dropped."""
    data = {name: value for name, value in data.items() if not name.startswith("queue:")}
    return {**data, "meta": {name: one for name, one in data["meta"].items() if name != "seq"}}


@pytest.mark.req("ADM-2", "ADM-6", "SIM-4")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(bounds=BOUNDS, acts=st.lists(ACT, min_size=12, max_size=40))
def test_admission_and_eviction_are_as_a_plain_reference_says(
    real: Told, bounds: Bounds, acts: list[tuple[str, Any]]
) -> None:
    real.begin()
    tale = Tale(real, bounds, Waiting(bounds))
    tale.say("hello", 0, "", 1)
    tale.say("declare", POOL)
    tale.slots(0)
    for act in acts:
        tale.act(*act)
        tale.compare()


RETURNED = [
    # t1's first job comes back to its head, behind which its second one has waited longest of all.
    ("submit", [("lo", "t1"), ("lo", "t1")]),
    ("claim", 1),
    ("pass", 3),
    ("submit", [("lo", "t2"), ("lo", "t2"), ("lo", "t2")]),
    ("pass", 3),
    ("hand back", 0),
    # Looked at: t1's head is younger than t2's.
    ("submit", [("hi", "t3")]),
]


@pytest.mark.req("ADM-2")
@pytest.mark.parametrize("leaves", ["cancel", "claim"])
def test_whoever_is_behind_a_job_that_left_the_head_is_looked_at_again(
    real: Told, leaves: str
) -> None:
    real.begin()
    bounds = Bounds("drop-lru", queue_max=100, pool_max=5, tenant_max=0)
    tale = Tale(real, bounds, Waiting(bounds))
    tale.say("hello", 0, "", 1)
    tale.say("declare", POOL)
    tale.slots(0)
    for act in RETURNED:
        tale.act(*act)
    assert tale.waiting.evicted == {"j4-0": "j7-0"}
    if leaves == "cancel":
        tale.say("cancel", "j1-0", '"by":"me"', "gateway", POLICY)
        tale.waiting.leave("j1-0")
        tale.act("submit", [("hi", "t3")])
    else:
        tale.act("claim", 3)
    tale.act("submit", [("hi", "t3"), ("hi", "t3"), ("hi", "t3"), ("hi", "t3")])
    tale.compare()


@pytest.mark.req("ADM-2")
def test_a_canceled_job_that_stood_aside_hides_nobody_who_waits_in_its_class(real: Told) -> None:
    real.begin()
    tale = Tale(real, Bounds("drop-lru", 100, 4, 0), Waiting(Bounds("drop-lru", 100, 4, 0)))
    tale.say("hello", 0, "", 1)
    tale.say("declare", POOL)

    def submit(job_id: str, class_name: str, tenant: str, ties: str = "") -> None:
        item = (job_id, "d", tenant, POOL, class_name, "{}", 0, 0, "", "", "", "", "", ties)
        reply = tale.say("admit", "gateway", POLICY, tale.bounds.text(), "y", 1, *item)
        assert reply[3][0][0] == "new", reply

    submit("waits", "mid", "t1")
    submit("lowest", "lo", "t3")
    submit("first", "hi", "t2", "s:s1")
    submit("aside", "mid", "t2", "s:s1")
    submit("n1", "hi", "t3")
    assert tale.jobs()["lowest"]["state"] == "X"
    tale.say("cancel", "aside", '"by":"me"', "gateway", POLICY)
    submit("n2", "hi", "t3")
    submit("n3", "hi", "t3")
    jobs = tale.jobs()
    assert (jobs["waits"]["state"], jobs["first"]["state"]) == ("X", "q")
