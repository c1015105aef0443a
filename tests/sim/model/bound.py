"""What bounds submissions: paused intake, rates, and how many may wait."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import orjson

from contracts import limits
from contracts.errors import ErrorCode
from tests.sim.model.call import Call, Reply
from tests.sim.model.evict import Scope
from tests.sim.model.pace import gap_of, starts_in
from tests.sim.model.ties import keyed


@dataclass(frozen=True, slots=True)
class Place:
    """The bounds of a pool and class."""

    pool: str
    class_name: str
    paused: str
    queue_max: float
    pool_max: float
    policy: str

    @property
    def name(self) -> str:
        """As it stands in key names."""
        return f"{self.pool}:{self.class_name}"


@dataclass(slots=True)
class Tenant:
    """The bounds of a tenant, and the tokens in its bucket."""

    name: str
    paused: str
    jobs_max: float
    rate: float
    burst: float
    tokens: float = 0
    took: bool = False


@dataclass(slots=True)
class Bounds:
    """What holds in one call."""

    call: Call
    words: dict[str, str]
    tenants: dict[str, Tenant] = field(default_factory=dict)
    coming: Counter[str] = field(default_factory=Counter)
    """What will wait of those that were let in and are not made yet, by counter."""

    def _word(self, name: str, *fields: str) -> str:
        desired = self.call.hash("desired")
        found = [desired[one] for one in fields if one in desired]
        return found[0] if found else self.words.get(name, "0")

    def _number(self, name: str, one: str) -> float:
        try:
            return float(self._word(name, one))
        except ValueError:
            return float(self.words.get(name, "0"))

    def _paused(self, *scopes: str) -> str:
        desired = self.call.hash("desired")
        return next((one for one in scopes if desired.get(f"{one}:intake") == "paused"), "")

    def place(self, pool: str, class_name: str) -> Place:
        """The bounds of a pool and class."""
        one, queue = f"pool:{pool}", f"queue:{pool}:{class_name}"
        policy = self._word("full_policy", f"{one}:full_policy")
        return Place(
            pool,
            class_name,
            self._paused("*", one, queue),
            self._number("queue_jobs_max", f"{queue}:queue_jobs_max"),
            self._number("pool_jobs_max", f"{one}:pool_jobs_max"),
            "reject" if policy == "0" else policy,
        )

    def tenant(self, name: str) -> Tenant:
        """The bounds of a tenant, with its bucket as it is now."""
        if name in self.tenants:
            return self.tenants[name]
        own = f"tenant:{name}"
        rate = self._number("tenant_rate", f"{own}:rate")
        burst = self._number("tenant_burst", f"{own}:burst")
        jobs_max = self._number("tenant_jobs_max", f"{own}:tenant_jobs_max")
        tenant = Tenant(name, self._paused(own), jobs_max, rate, burst)
        if rate > 0:
            tenant.burst = burst if burst > 0 else max(1, math.ceil(rate))
            held = self.call.space.text(f"{self.call.shard}rate:{name}")
            tokens, at = held.split() if held else ("0", "")
            gained = max(0, self.call.now - int(at)) * rate / 1_000 if at else tenant.burst
            tenant.tokens = min(tenant.burst, float(tokens) + gained)
        self.tenants[name] = tenant
        return tenant

    def save_tokens(self) -> None:
        """What was taken from the buckets."""
        for tenant in self.tenants.values():
            if tenant.took:
                full_in = math.ceil((tenant.burst - tenant.tokens) * 1_000 / tenant.rate)
                name = f"{self.call.shard}rate:{tenant.name}"
                self.call.space.set_text(
                    name, f"{tenant.tokens:.9g} {self.call.now}", max(1, full_in)
                )

    # -- how many wait

    def waiting(self, counter: str) -> int:
        """How many will wait when those that were let in do."""
        return self.call.counter(counter) + self.coming[counter]

    def pool_depth(self, pool: str) -> int:
        """How many will wait in all classes."""
        return sum(self.waiting(f"depth:{pool}:{name}") for name, _ in self.call.policy.classes)

    def _of_key(self, tenant: str, key: str) -> tuple[int, float]:
        """How many jobs of a key have not ended, with those that were let in, and how many may."""
        most = self._number("key_jobs_max", f"key:{tenant}:{key}:key_jobs_max") if key else 0
        live = len(self.call.space.members(keyed(self.call, tenant, key))) if most else 0
        return live + self.coming[f"keyed:{tenant}:{key}"], most or math.inf

    def reached(self, place: Place, tenant: Tenant, key: str) -> list[tuple[Scope, int, float]]:
        """Bounds that are reached, with how many wait and how many may."""
        found: list[tuple[Scope, int, float]] = [
            ("key", *self._of_key(tenant.name, key)),
            ("tenant", self.waiting(f"waits:{tenant.name}"), tenant.jobs_max or math.inf),
            ("queue", self.waiting(f"depth:{place.name}"), place.queue_max),
            ("pool", self.pool_depth(place.pool), place.pool_max or math.inf),
        ]
        return [one for one in found if one[1] >= one[2]]

    def frees_in(self, place: Place, bound: tuple[Scope, int, float]) -> float | None:
        """When there is room again."""
        scope, depth, most = bound
        over = depth - most
        if scope == "pool":
            gap = gap_of(self.call, place.pool)
            return None if gap is None else (over + 1) * gap
        if scope in {"key", "tenant"}:
            over *= max(1, len(self.call.space.zset(f"{self.call.shard}turn:{place.name}")))
        return starts_in(self.call, place.pool, place.class_name, int(over))


# -- refusals


def refused(code: ErrorCode, message: str, details: object) -> Reply:
    """A refusal of the request itself."""
    return ["refused", code.value, message, orjson.dumps(details).decode()]


def _for_load(
    code: ErrorCode, message: str, details: object, wait_ms: float | None, label: str
) -> Reply:
    wait = limits.RETRY_AFTER_MS_START
    if wait_ms is not None:
        wait = min(limits.DAY_MS, max(1, math.ceil(wait_ms)))
    return [*refused(code, message, details), wait, label]


def refuse_paused(scope: str) -> Reply:
    """An operator paused intake."""
    what = "everything" if scope == "*" else scope
    return _for_load(
        ErrorCode.INTAKE_PAUSED,
        f"intake of {what} is paused",
        {"scope": scope},
        limits.RETRY_AFTER_MS_PAUSED,
        "intake-paused",
    )


def refuse_too_fast(tenant: Tenant) -> Reply:
    """Its bucket is empty."""
    details = {"tenant": tenant.name, "rate": tenant.rate, "burst": tenant.burst}
    return _for_load(
        ErrorCode.RATE_LIMITED,
        f"tenant {tenant.name} submits faster than {tenant.rate:.14g} a second",
        details,
        (1 - tenant.tokens) * 1_000 / tenant.rate - 0.001,
        "rate-limit",
    )


def refuse_full(
    bounds: Bounds, place: Place, tenant: Tenant, key: str, one: tuple[Scope, int, float]
) -> Reply:
    """A bound is reached, and nobody gives way."""
    scope, depth, most = one
    message = {
        "key": f"concurrency key {key} has as many jobs as it may have",
        "tenant": f"tenant {tenant.name} has as many waiting jobs as it may have",
        "queue": f"the queue of pool {place.pool}, class {place.class_name} is full",
        "pool": f"pool {place.pool} is full",
    }[scope]
    details = {"queue_depth": depth, f"{scope}_jobs_max": int(most)}
    label = f"{scope}-quota" if scope in {"key", "tenant"} else place.policy
    return _for_load(ErrorCode.QUEUE_FULL, message, details, bounds.frees_in(place, one), label)
