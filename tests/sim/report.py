"""build/sim.json, as INTERFACE names it."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.sim.campaign import COLUMNS, Campaign, Tier
from tests.sim.plan import FAULTS

TARGET = Path(__file__).parents[2] / "build" / "sim.json"


def write_report(campaign: Campaign, seed: int, target: Path = TARGET) -> None:
    """Writes it, making the folder."""
    faults = {
        fault: {
            "count": campaign.faults[fault],
            "lost": campaign.found[fault]["lost"] + campaign.found[fault]["stuck"],
            "double": campaign.found[fault]["double"],
            "undetected": campaign.found[fault]["undetected"],
            "orphans": campaign.found[fault]["orphan"],
        }
        for fault in FAULTS
    }
    document = {
        "seed": seed,
        "schedules": campaign.runs,
        "counted": campaign.counted,
        "failed": [{"seed": o.plan.seed, "tier": o.plan.tier} for o in campaign.failures],
        "faults": faults,
        "tiers": {name: _of_tier(tier) for name, tier in campaign.tiers.items()},
    }
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _of_tier(tier: Tier) -> dict[str, object]:
    """Every fault of a tier, each kind of violation apart; `none` is of runs without any fault."""
    names = [*FAULTS, *(["none"] if tier.found["none"] else [])]
    rows = {
        fault: {"count": tier.faults[fault], **{kind: tier.found[fault][kind] for kind in COLUMNS}}
        for fault in names
    }
    return {"schedules": tier.runs, "counted": tier.counted, "faults": rows}
