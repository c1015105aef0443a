"""What do agents use, and what does a finished job cost?"""

from __future__ import annotations

from typing import Final

from ops.dashboards.model import Dashboard, Panel, Query, Row, stat

_MONEY: Final = "In the unit of money that the endpoints report; unreported cost is not in it."
_DONE: Final = '(sum by (pool) (rate(orch_runner_outcomes_total{outcome="done", pool=~"$pool"}[$__rate_interval])) > 0)'

_TOTAL: Final = Row(
    "In the chosen time",
    (
        stat("Cost in the chosen time", "short", _MONEY, 'sum(increase(orch_agent_cost_total{pool=~"$pool"}[$__range]))', width=6, decimals=2),
        stat("Tokens read", "short", "Tokens that models read.",
             'sum(increase(orch_agent_tokens_total{direction="in", pool=~"$pool"}[$__range]))', width=6, decimals=0),
        stat("Tokens written", "short", "Tokens that models wrote.",
             'sum(increase(orch_agent_tokens_total{direction="out", pool=~"$pool"}[$__range]))', width=6, decimals=0),
        stat("Attempts that ended well", "short", "Attempts that ended `done`.",
             'sum(increase(orch_runner_outcomes_total{outcome="done", pool=~"$pool"}[$__range]))', width=6, decimals=0),
    ),
)  # fmt: skip

_PACE: Final = Row(
    "Pace",
    (
        Panel("Cost an hour", "short", f"At the pace of the interval. {_MONEY}",
              (Query('sum by (pool) (rate(orch_agent_cost_total{pool=~"$pool"}[$__rate_interval])) * 3600', "{{pool}}"),), stacked=True, width=12),
        Panel("Tokens", "suffix: tokens/s", "Read by models (`in`) and written by them (`out`), as attempts reported.",
              (Query('sum by (pool, direction) (rate(orch_agent_tokens_total{pool=~"$pool"}[$__rate_interval]))', "{{pool}} {{direction}}"),),
              stacked=True, width=12),
    ),
)  # fmt: skip

_EACH: Final = Row(
    "For each attempt that ended well",
    (
        Panel("Cost for each", "short", f"All cost of the pool by its attempts that ended well: retries and failures make it dearer. {_MONEY}",
              (Query(f'sum by (pool) (rate(orch_agent_cost_total{{pool=~"$pool"}}[$__rate_interval])) / {_DONE}', "{{pool}}"),)),
        Panel("Tokens for each", "short", "All tokens of the pool by its attempts that ended well.",
              (Query(f'sum by (pool) (rate(orch_agent_tokens_total{{pool=~"$pool"}}[$__rate_interval])) / {_DONE}', "{{pool}}"),)),
        Panel("Attempts for each", "short", "Attempts begun by attempts that ended well; 1 is the least. Above it are failures and retries, and attempts that ended with a question, a pause or a runner that left.",
              (Query(f'sum by (pool) (rate(orch_runner_claims_total{{pool=~"$pool"}}[$__rate_interval])) / {_DONE}', "{{pool}}"),)),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "cost", "Cost and tokens", "What do agents use, and what does a finished attempt cost?", (_TOTAL, _PACE, _EACH),
)  # fmt: skip
