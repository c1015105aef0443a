"""The order of dispatch against a small reference: FIFO, shares by weight, no starvation, reproducible.

Everything is told to the model of a shard, which `test_model.py` holds against the real functions.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.model.servers import ToldModel
from tests.sim.model.telling import EPOCH_MS, PREFIX, Step

HI, LO = "hi", "lo"
FAIR = "fair 86400000 hi:8 lo:1"


@dataclass
class Shard:
    """A shard with one runner whose slots are claimed and settled one call after the other."""

    policy: str
    slots: int = 1
    now: int = EPOCH_MS
    told: ToldModel = field(default_factory=ToldModel)
    running: list[tuple[str, str]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        about = f'{{"role":"runner","pool":"a","slots":{self.slots}}}'
        self.say("hello", 0, "", 1)
        self.say("declare", "a")
        self.say("register", "r", "runner", about, "a", self.slots, 0)

    def say(self, name: str, *words: str | int) -> list[object]:
        reply: list[object] = self.told.do(Step(name, words, self.now))
        return reply

    def wish(self, **fields: int) -> None:
        for name, value in fields.items():
            self.say("HSET", f"{PREFIX}desired", "rev", 1, name.replace("__", ":"), value)

    def submit(self, job_id: str, class_name: str = LO, tenant: str = "t", later: int = 0) -> None:
        not_before = self.now + later if later else 0
        item = (job_id, "d", tenant, "a", class_name, "{}", not_before, 0, "", "", "", "", "", "")
        self.say("admit", "gateway", self.policy, "queue_jobs_max=1000000", "y", 1, *item)

    def cancel(self, job_id: str) -> None:
        self.say("cancel", job_id, '"by":"me"', "gateway", self.policy)

    def serve(self) -> list[str]:
        """Settles what runs, and claims as much again."""
        endings = [
            word
            for job_id, claim in self.running
            for word in ("settle", job_id, claim, "{}", "1", 0)
        ]
        head = ("r", "a", next(self.numbers), self.slots, "x", self.policy, "", len(self.running))
        reply = self.say("cycle", *head, *endings)
        offers = reply[4]
        assert isinstance(offers, list)
        self.running = [(offer[0], offer[1]) for offer in offers]
        return [job_id for job_id, _ in self.running]


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from((HI, LO)), st.sampled_from("abc")),
        st.tuples(st.just("serve"), st.just(""), st.just("")),
        st.tuples(st.just("cancel"), st.integers(0, 30).map(str), st.just("")),
    ),
    max_size=80,
)


def played(
    acts: Sequence[tuple[str, str, str]], policy: str, slots: int
) -> tuple[list[str], Shard]:
    """The jobs in the order in which they were claimed; all of them at the end."""
    shard, served, made = Shard(policy, slots), list[str](), count()
    for act, one, tenant in acts:
        shard.now += 1
        if act == "submit":
            shard.submit(f"{one}-{tenant}-{next(made)}", one, tenant)
        elif act == "serve":
            served += shard.serve()
        else:
            for job_id in [name for name in jobs(shard) if name.endswith(f"-{one}")]:
                shard.cancel(job_id)
    while found := shard.serve():
        served += found
    return served, shard


def jobs(shard: Shard) -> dict[str, dict[str, str]]:
    found = shard.told.look()
    return {name[4:]: value for name, value in found.items() if name.startswith("job:")}


@pytest.mark.req("SCH-1", "SIM-4")
@given(
    acts=ACTS,
    slots=st.integers(1, 5),
    policy=st.sampled_from((FAIR, FAIR.replace("fair", "strict"))),
)
@settings(max_examples=80, deadline=None)
def test_a_line_is_first_in_first_out_whatever_is_canceled_between(
    acts: list[tuple[str, str, str]], slots: int, policy: str
) -> None:
    served, shard = played(acts, policy, slots)
    lines: dict[str, list[int]] = defaultdict(list)
    for job_id in served:
        class_name, tenant, number = job_id.split("-")
        lines[class_name + tenant].append(int(number))
    assert all(line == sorted(line) for line in lines.values())
    assert len(served) == len(set(served))
    left = {name for name, job in jobs(shard).items() if job["state"] not in "CX"}
    assert left == set(), "whoever was not canceled was served"


@pytest.mark.req("SCH-7", "SIM-4")
@given(acts=ACTS, slots=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_same_submissions_give_the_same_order(
    acts: list[tuple[str, str, str]], slots: int
) -> None:
    assert played(acts, FAIR, slots)[0] == played(acts, FAIR, slots)[0]


class Strict:
    """The reference of strict order: the highest class that waits, first in, first out."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[str, deque[str]]] = {HI: {}, LO: {}}

    def submit(self, job_id: str, class_name: str, tenant: str) -> None:
        self.lines[class_name].setdefault(tenant, deque()).append(job_id)

    def next(self) -> str | None:
        for class_name in (HI, LO):
            waiting = {name: line for name, line in self.lines[class_name].items() if line}
            if waiting:
                return next(iter(waiting.values())).popleft()
        return None


@pytest.mark.req("SCH-1", "SCH-7", "SIM-4")
@given(
    acts=st.lists(st.one_of(st.sampled_from((HI, LO)), st.just("serve")), max_size=80),
)
@settings(max_examples=60, deadline=None)
def test_strict_order_is_class_then_arrival(acts: list[str]) -> None:
    shard, reference = Shard(FAIR.replace("fair", "strict")), Strict()
    served, wanted, made = list[str](), list[str](), count()
    for act in [*acts, *["serve"] * len(acts)]:
        shard.now += 1
        if act == "serve":
            served += shard.serve()
            expected = reference.next()
            wanted += [expected] if expected else []
        else:
            job_id = f"{act}-{next(made)}"
            if shard.running:
                shard.submit(job_id, act)
                reference.submit(job_id, act, "t")
            else:
                # A free slot: it is dispatched in the call that admits it, before the next one comes.
                shard.submit(job_id, act)
                served += shard.serve()
                wanted.append(job_id)
    assert served == wanted


@pytest.mark.req("SCH-1", "SIM-4")
@given(high=st.integers(1, 12), low=st.integers(1, 4), slots=st.sampled_from((1, 7)))
@settings(max_examples=25, deadline=None)
def test_classes_share_within_five_percent_of_their_weights(
    high: int, low: int, slots: int
) -> None:
    shard = Shard(f"fair 86400000 hi:{high} lo:{low}", slots)
    found = shares(shard, {HI: (HI, "t"), LO: (LO, "t")}, window=280)
    assert abs(found[HI] / 280 - high / (high + low)) <= 0.05


@pytest.mark.req("SCH-1", "SIM-4")
@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=4), slots=st.sampled_from((1, 7)))
@settings(max_examples=25, deadline=None)
def test_tenants_share_within_five_percent_of_their_weights(weights: list[int], slots: int) -> None:
    shard = Shard(FAIR, slots)
    names = {f"t{n}": weight for n, weight in enumerate(weights)}
    shard.wish(**{f"tenant__{name}__weight": weight for name, weight in names.items()})
    found = shares(shard, {name: (LO, name) for name in names}, window=280)
    for name, weight in names.items():
        assert abs(found[name] / 280 - weight / sum(weights)) <= 0.05, found


def shares(shard: Shard, kinds: dict[str, tuple[str, str]], *, window: int) -> Counter[str]:
    """Of which kind the served were while all kinds always wait."""
    made = count()
    for _ in range(window):
        for kind, (class_name, tenant) in kinds.items():
            shard.submit(f"{kind}-{next(made)}", class_name, tenant)
    served: list[str] = []
    while len(served) < window:
        served += shard.serve()
    return Counter(job_id.partition("-")[0] for job_id in served[:window])


@pytest.mark.req("SCH-1", "SIM-4")
@given(weight=st.integers(10, 1000), aging_ms=st.sampled_from((1_000, 5_000)))
@settings(max_examples=15, deadline=None)
def test_an_old_job_of_a_low_class_waits_no_longer_than_its_turns_by_age(
    weight: int, aging_ms: int
) -> None:
    shard, made, served = Shard(f"fair {aging_ms} hi:{weight} lo:1"), count(), dict[str, int]()
    lows = [f"low{n}" for n in range(4)]
    for job_id in lows:
        shard.submit(job_id, LO)
    # High ones never end: a new one for each that is served, and always one that waits.
    for _ in range(3):
        shard.submit(f"high{next(made)}", HI)
    for _ in range(6 * aging_ms // 50):
        shard.now += 50
        shard.submit(f"high{next(made)}", HI)
        served |= dict.fromkeys(shard.serve(), shard.now - EPOCH_MS)
    for n, job_id in enumerate(lows):
        assert served[job_id] <= (n + 1) * aging_ms + 1_000, served


@pytest.mark.req("SCH-3", "SIM-4")
@given(delays=st.lists(st.integers(1, 5_000), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_nothing_starts_before_its_time_and_everything_after_it(delays: list[int]) -> None:
    shard, served = Shard(FAIR, slots=20), dict[str, int]()
    for n, delay in enumerate(delays):
        shard.submit(f"j{n}", LO, later=delay)
    for _ in range(60):
        shard.now += 100
        shard.say("due", 1_000, shard.policy)
        served |= dict.fromkeys(shard.serve(), shard.now - EPOCH_MS)
    assert sorted(served) == sorted(f"j{n}" for n in range(len(delays)))
    for n, delay in enumerate(delays):
        assert delay <= served[f"j{n}"] <= delay + 200


@pytest.mark.req("SCH-2", "SIM-4")
@given(acts=ACTS, slots=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_no_more_is_ready_or_runs_than_there_are_slots(
    acts: list[tuple[str, str, str]], slots: int
) -> None:
    shard, made = Shard(FAIR, slots), count()
    for act, one, tenant in acts:
        shard.now += 1
        if act == "submit":
            shard.submit(f"{one}-{tenant}-{next(made)}", one, tenant)
        elif act == "serve":
            shard.serve()
        taken = [job for job in jobs(shard).values() if job["state"] in "yr"]
        assert len(taken) <= slots
