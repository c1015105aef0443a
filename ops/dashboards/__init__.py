"""Which Grafana dashboards are there? Plain data, written out by `make generate`."""

from __future__ import annotations

import json
from typing import Final

from ops.dashboards import cost, overview, queues, redis, runners
from ops.dashboards.model import Dashboard

DASHBOARDS: Final[tuple[Dashboard, ...]] = (
    overview.DASHBOARD,
    queues.DASHBOARD,
    runners.DASHBOARD,
    cost.DASHBOARD,
    redis.DASHBOARD,
)


def text_of(dashboard: Dashboard) -> str:
    """The file that Grafana reads."""
    return json.dumps(dashboard.document(), indent=2, ensure_ascii=False) + "\n"
