"""What one seed means: the shape of the cluster, the work, and its own subset of faults with their rates.

All faults at once hide each other, so every seed draws a few. A plan can be made smaller field by field; the
draws of everything else stay as they are, which is what makes a failing seed shrinkable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

MESSAGE_FAULTS = ("lost_request", "lost_reply", "late", "double")
"""Probability that a message meets it."""
EVENT_FAULTS = (
    "kill", "kill_in_call", "term", "freeze", "stall", "cut", "restart", "server_freeze", "rollback",
    "clock_jump", "functions_lost", "hints_lost", "drowse", "maintenance", "index_lost",
    "control",
)  # fmt: skip
"""How many a virtual second."""
STANDING_FAULTS = ("skew", "poison", "slow")
"""There from the beginning, or not at all."""
FAULTS = (*MESSAGE_FAULTS, *EVENT_FAULTS, *STANDING_FAULTS)
LATER_FAULTS = ("hints_lost", "drowse", "maintenance", "index_lost", "control")
"""Drawn apart from the others, so that what a seed drew before they were thought of stays as it was."""
FOCUSED: tuple[dict[str, Any], ...] = (
    # Copies of calls that come much later, while their runner lives on.
    {"faults": {"double": 0.3}, "lease_ms": 3_000, "work_ms": 300, "jobs": 16, "supervised": False},
    # Data go back again and again under reapers that remember.
    {
        "faults": {"rollback": 0.6, "server_freeze": 0.6, "freeze": 0.5}, "lease_ms": 1_000,
        "work_ms": 3_000, "jobs": 8, "supervised": False, "safety_ms": 20_000,
    },
    # Burials that were decided on an old look.
    {
        "faults": {"late": 0.15, "freeze": 0.6}, "lease_ms": 1_000, "work_ms": 3_000, "jobs": 8,
        "supervised": False, "safety_ms": 20_000,
    },
    # Actors that leave with reads under way.
    {"faults": {"term": 3.0, "lost_reply": 0.05}, "lease_ms": 3_000, "work_ms": 30, "jobs": 30},
)  # fmt: skip
"""Combinations that a free draw hardly ever meets, and that found something."""
_SELDOM = {
    "restart", "server_freeze", "rollback", "clock_jump", "functions_lost", "hints_lost", "maintenance",
}  # fmt: skip
ROLES = ("runner", "admission", "scheduler", "reaper", "fallback")


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    tier: str
    replicas: Mapping[str, int]
    slots: int
    lease_ms: int
    jobs: int
    clients: int
    batch: int
    work_ms: int
    attempts_max: int
    safety_ms: int
    supervised: bool
    """Runners that die are buried at once, as a supervisor does that saw them die."""
    faults: Mapping[str, float] = field(default_factory=dict)
    schedules: int = 0
    tied: float = 0.0
    """How likely a job has a concurrency key, and how likely a session."""
    tenant_running_max: int = 0

    @property
    def bound_ms(self) -> int:
        """How long after the last fault everything must have ended.

        A pause of an outage, a burial and its grace, twice: for the instances that died at the end of the
        storm, and for those whose first heirs died with them; the second announcement of an outcome; every
        attempt that all jobs together may still need, each with the longest back-off.
        """
        slots = self.replicas["runner"] * self.slots
        # Jobs of one tie, or of a tenant at its limit, run one after the other.
        slots = 1 if self.tied or self.tenant_running_max else slots
        rounds = self.attempts_max + 3
        work_ms = rounds * (6 * self.work_ms * self.jobs // slots + 4_000 + 2_000)
        return 2 * (3 * self.lease_ms + 10_000) + 32_000 + work_ms

    def without(self, fault: str) -> Plan:
        """The same run spared one kind of fault."""
        return replace(self, faults={k: v for k, v in self.faults.items() if k != fault})

    def _with(self, name: str, value: int) -> Plan:
        changes: dict[str, Any] = {name: value}
        return replace(self, **changes)

    def smaller(self) -> list[Plan]:
        """Plans to try when this one fails, the boldest cut first."""
        found = [self.without(fault) for fault in self.faults]
        for role, count in self.replicas.items():
            if count > 1:
                found.append(replace(self, replicas={**self.replicas, role: 1}))
        for name, least in (
            ("jobs", 1),
            ("clients", 1),
            ("slots", 1),
            ("batch", 1),
            ("schedules", 0),
        ):
            value = getattr(self, name)
            if value > least:
                found += [self._with(name, smaller) for smaller in {least, value // 2 or 1}]
        if self.tied:
            found.append(replace(self, tied=0.0))
        if self.tenant_running_max:
            found.append(replace(self, tenant_running_max=0))
        if self.safety_ms > 2_000:
            found.append(replace(self, safety_ms=self.safety_ms // 2))
        return found


def plan_of(seed: int, tier: str) -> Plan:
    """What the seed draws."""
    rng = Random(f"{seed}/plan")
    replicas = {role: rng.choice((1, 1, 2, 3)) for role in ROLES}
    replicas["runner"] = rng.randint(1, 4)
    faults: dict[str, float] = {}
    share = rng.choice((0.15, 0.3, 0.5))
    for name in FAULTS:
        if name not in LATER_FAULTS and rng.random() < share:
            faults[name] = _rate(name, rng)
    later = Random(f"{seed}/plan/later")
    for name in LATER_FAULTS:
        if later.random() < share:
            faults[name] = _rate(name, later)
    ties = Random(f"{seed}/plan/ties")
    # Long work meets leases that end, short work the ends of attempts.
    work_ms = rng.choice((30, 300, 1_000, 3_000))
    plan = Plan(
        seed=seed,
        tier=tier,
        replicas=replicas,
        slots=rng.choice((1, 2, 4)),
        lease_ms=rng.choice((1_000, 1_500, 3_000)),
        jobs=rng.choice((4, 8) if work_ms == 3_000 else (4, 8, 16, 30)),
        clients=rng.randint(1, 3),
        batch=rng.choice((1, 1, 4)),
        work_ms=work_ms,
        attempts_max=rng.randint(2, 5),
        safety_ms=rng.choice((6_000, 12_000, 20_000)),
        supervised=rng.random() < 0.5,
        faults=faults,
        # Drawn apart, as later faults are; most seeds stay what they were.
        schedules=Random(f"{seed}/plan/schedules").choice((0, 0, 0, 1, 3)),
        tied=ties.choice((0.0, 0.3, 0.6)),
        tenant_running_max=ties.choice((0, 0, 1, 3)),
    )
    if rng.random() < 0.2:
        changes: dict[str, Any] = rng.choice(FOCUSED)
        return replace(plan, **changes)
    return plan


def _rate(name: str, rng: Random) -> float:
    if name in MESSAGE_FAULTS:
        return rng.choice((0.005, 0.02, 0.08))
    if name in STANDING_FAULTS:
        return 1.0
    if name in _SELDOM:
        return rng.choice((0.05, 0.15, 0.4))
    return rng.choice((0.1, 0.4, 1.0))
