"""What bounds submissions: how many may wait, how fast they may come, and who gives way at a bound.

The settings are the defaults; what operators set while it runs (`desired`) goes before them, and is read by
the function `admit` itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.defaults import FULL_POLICIES

REJECT: Final = FULL_POLICIES[0]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings of the same names; 0 is no bound, but for `queue_jobs_max`, where it admits nothing."""

    queue_jobs_max: int
    pool_jobs_max: int = 0
    tenant_jobs_max: int = 0
    key_jobs_max: int = 0
    full_policy: str = REJECT
    tenant_rate: int = 0
    tenant_burst: int = 0

    def text(self) -> str:
        """As the functions take it: words `name=value`, without those that bound nothing."""
        numbers = {
            "pool_jobs_max": self.pool_jobs_max,
            "tenant_jobs_max": self.tenant_jobs_max,
            "key_jobs_max": self.key_jobs_max,
            "tenant_rate": self.tenant_rate,
            "tenant_burst": self.tenant_burst,
        }
        words = [f"queue_jobs_max={self.queue_jobs_max}"]
        words += [f"{name}={value}" for name, value in numbers.items() if value]
        if self.full_policy != REJECT:
            words.append(f"full_policy={self.full_policy}")
        return " ".join(words)
