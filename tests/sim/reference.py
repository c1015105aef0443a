"""Who is let in and who gives way, told a second time and as plainly as can be.

Nothing here knows of indexes, tickets or counters. A job that came back to its line stands at its head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

CLASSES = ("hi", "mid", "lo")
"""From the highest to the lowest."""


@dataclass(frozen=True, slots=True)
class Waits:
    """A job in a line."""

    job_id: str
    class_name: str
    tenant: str
    age: tuple[int, int]
    """Since when it waits, and the order of arrival within that moment."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds in one shard with one pool; 0 is no bound for pool and tenant."""

    policy: str
    queue_max: int
    pool_max: int
    tenant_max: int

    def text(self) -> str:
        """As the functions take it."""
        return (
            f"queue_jobs_max={self.queue_max} pool_jobs_max={self.pool_max} "
            f"tenant_jobs_max={self.tenant_max} full_policy={self.policy}"
        )


@dataclass(slots=True)
class Waiting:
    """All that waits."""

    bounds: Bounds
    lines: dict[tuple[str, str], list[Waits]] = field(default_factory=dict)
    evicted: dict[str, str] = field(default_factory=dict)
    """Who gave way, and to whom."""

    def all(self) -> list[Waits]:
        """Everybody who waits."""
        return [job for line in self.lines.values() for job in line]

    def submit(self, job: Waits) -> str:
        """`new`, or the label of the refusal."""
        victims: list[Waits] = []
        for scope, label in self._reached(job):
            if not any(_is_in(scope, one, job) for one in victims):
                victim = self._victim(job, scope)
                if victim is None:
                    return self._reached(job)[0][1] if label else label
                victims.append(victim)
        for one in victims:
            self.leave(one.job_id)
            self.evicted[one.job_id] = job.job_id
        self.lines.setdefault((job.class_name, job.tenant), []).append(job)
        return "new"

    def _reached(self, job: Waits) -> list[tuple[str, str]]:
        bounds, waiting = self.bounds, self.all()
        tenant = sum(one.tenant == job.tenant for one in waiting)
        queue = sum(one.class_name == job.class_name for one in waiting)
        found = []
        if bounds.tenant_max and tenant >= bounds.tenant_max:
            found.append(("tenant", "tenant-quota"))
        if queue >= bounds.queue_max:
            found.append(("queue", bounds.policy))
        if bounds.pool_max and len(waiting) >= bounds.pool_max:
            found.append(("pool", bounds.policy))
        return found

    def _victim(self, job: Waits, scope: str) -> Waits | None:
        own = CLASSES.index(job.class_name)
        oldest = self.bounds.policy == "drop-lru"
        if self.bounds.policy == "reject":
            return None
        allowed = CLASSES[own:] if oldest else CLASSES[own + 1 :]
        for class_name in reversed(allowed):
            ends = [
                line[0 if oldest else -1]
                for (name, _), line in self.lines.items()
                if line and name == class_name
            ]
            ends = [one for one in ends if _is_in(scope, one, job)]
            if ends:
                return (min if oldest else max)(ends, key=lambda one: one.age)
        return None

    def leave(self, job_id: str) -> Waits | None:
        """Canceled or claimed; who it was, if it waited."""
        for line in self.lines.values():
            for job in line:
                if job.job_id == job_id:
                    line.remove(job)
                    return job
        return None

    def come_back(self, job: Waits) -> None:
        """To the head of its line."""
        self.lines.setdefault((job.class_name, job.tenant), []).insert(0, job)

    def heads(self) -> Sequence[str]:
        """Who may be given out next."""
        return [line[0].job_id for line in self.lines.values() if line]


def _is_in(scope: str, one: Waits, job: Waits) -> bool:
    """Whether room for `job` is made there, when `one` goes."""
    same = {"tenant": one.tenant == job.tenant, "queue": one.class_name == job.class_name}
    return same.get(scope, True)
