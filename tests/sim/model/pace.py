"""How fast a pool gives jobs out, and when those that wait will start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from contracts.limits import PACE_DISPATCHES, PACE_MS
from tests.sim.model.values import number_text

if TYPE_CHECKING:
    from tests.sim.model.call import Call


def measure(
    call: Call, pool: str, served: int, *, backlogged: bool | None, is_served: bool
) -> None:
    """After a dispatch: it counts when somebody had waited since the last one, with runners there;
    `backlogged` is None where nobody looked."""
    if backlogged is None and is_served:
        return
    fair = call.hash(f"fair:{pool}")
    at = int(fair.get("pace_at", "0"))
    now_at = call.now if backlogged and is_served else 0
    if served == 0 and (at > 0) == (now_at > 0):
        return
    fair["pace_at"] = str(now_at)
    if served and at:
        gap = max(0, call.now - at)
        fade = 1 + min(served / PACE_DISPATCHES, gap / PACE_MS)
        fair["pace"] = number_text(float(fair.get("pace", "0")) / fade + served)
        fair["pace_ms"] = number_text(float(fair.get("pace_ms", "0")) / fade + gap)


def gap_of(call: Call, pool: str) -> float | None:
    """Milliseconds between two dispatches; None while none was measured."""
    fair = call.hash(f"fair:{pool}")
    pace, ms, at = (float(fair.get(name, "0")) for name in ("pace", "pace_ms", "pace_at"))
    if pace <= 0:
        return None
    return max(ms, call.now - at if at else 0) / pace


def ahead_of_all(call: Call, pool: str, class_name: str, ahead: int) -> int:
    """How many go before a job that has `ahead` of its own class before it."""
    weights = dict(call.policy.classes)
    if class_name not in weights:
        return ahead
    fair = call.hash(f"fair:{pool}")

    def tag(name: str) -> float:
        return max(float(fair.get(f"c:{name}", "0")), float(fair.get("v", "0")))

    names = list(weights)
    total = ahead
    for name in names:
        depth = call.counter(f"depth:{pool}:{name}")
        if name == class_name or depth <= 0:
            continue
        if call.policy.strict:
            total += depth if names.index(name) < names.index(class_name) else 0
            continue
        lead = tag(class_name) - tag(name) + ahead / weights[class_name]
        total += min(depth, max(0, math.ceil(lead * weights[name])))
    return total


def starts_in(call: Call, pool: str, class_name: str, ahead: int) -> int | None:
    """Milliseconds until the job with so many of its class before it starts."""
    gap = gap_of(call, pool)
    if gap is None:
        return None
    at = int(call.hash(f"fair:{pool}").get("pace_at", "0"))
    since = max(0, min(call.now - at, gap)) if at else 0
    before = ahead_of_all(call, pool, class_name, ahead)
    return max(0, math.ceil((before + 1) * gap - since - 0.001))


def ahead_in_class(own: int, others: int, tenants: int, before: int) -> int:
    """How many of its class go before a job that has `own` of its tenant before it."""
    return own + min(others, (tenants - 1) * own + before)
