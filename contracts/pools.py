"""What operators and autoscalers see of pools: the bodies of HTTP answers and of `--json`."""

from __future__ import annotations

from typing import Literal

from contracts.record import View


class RunnerView(View):
    """One runner of a pool."""

    runner: str
    status: Literal["ready", "draining"]
    slots: int
    held: int
    host: str | None
    version: str | None


class Pool(View):
    """A pool at a glance."""

    pool: str
    status: Literal["ready", "draining", "empty"]
    """empty: no runner serves it."""
    intake: Literal["open", "paused"]
    dispatch: Literal["open", "paused"]
    runners: int
    slots: int
    free: int
    queued: int
    running: int


class PoolList(View):
    """All pools, by name."""

    pools: list[Pool]


class PoolHealth(View):
    """How a pool does."""

    pool: str
    live: bool
    """A runner serves it."""
    ready: bool
    """It can take a job now or soon: a runner serves it that is not draining, and dispatch is open."""
    draining: bool
    slots: int
    free: int
    queued: int
    running: int
    oldest_age_ms: int | None
    """How long the head of its lines has waited; the oldest of the first hundred lines of each class."""
    runners: list[RunnerView]


class ReplicaSet(View):
    """Runners of one pool that are equal in version and capabilities."""

    pool: str
    version: str
    capabilities: list[str]
    slots_total: int
    slots_free: int
    load: float
    """Held slots over all slots, 0 to 1."""
    ready: bool


class ReplicaSetList(View):
    """All of them, by pool and version."""

    replicasets: list[ReplicaSet]


class Scale(View):
    """What an autoscaler divides by the slots of a runner."""

    workload: int
