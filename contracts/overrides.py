"""Which limits a command may override, of what, and between which values; settings hold their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from contracts import limits


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that can be set: for which targets, and between which values."""

    targets: frozenset[str]
    minimum: float = 0
    maximum: float = 0
    choices: tuple[str, ...] = ()
    is_whole: bool = True

    def takes(self, value: object) -> bool:
        """Whether it may have this value."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else int | float):
            return False
        return self.minimum <= value <= self.maximum

    def words(self) -> str:
        """What a value must be."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if self.is_whole else "a number"
        return f"{kind} from {self.minimum:.0f} to {self.maximum:.0f}"


FULL_POLICIES: Final = ("reject", "drop-lru", "shed-low-priority")
LIMITS: Final[Mapping[str, Bound]] = MappingProxyType(
    {
        "queue_jobs_max": Bound(frozenset({"queue"}), 0, limits.LIMIT_JOBS_MAX),
        "pool_jobs_max": Bound(frozenset({"pool"}), 0, limits.LIMIT_JOBS_MAX),
        "full_policy": Bound(frozenset({"pool"}), choices=FULL_POLICIES),
        "tenant_jobs_max": Bound(frozenset({"tenant"}), 0, limits.LIMIT_JOBS_MAX),
        "key_jobs_max": Bound(frozenset({"key"}), 0, limits.LIMIT_JOBS_MAX),
        "running_max": Bound(frozenset({"tenant", "key"}), 0, limits.LIMIT_JOBS_MAX),
        "rate": Bound(frozenset({"tenant"}), 0, limits.LIMIT_RATE_MAX, is_whole=False),
        "burst": Bound(frozenset({"tenant"}), 0, limits.LIMIT_RATE_MAX),
        "weight": Bound(frozenset({"tenant"}), 1, limits.LIMIT_WEIGHT_MAX),
    }
)
"""0 lifts a bound of jobs or a rate where its setting says so (docs/configuration.md)."""
