"""Is Redis fast, does it answer, and did it keep what it acknowledged?"""

from __future__ import annotations

from typing import Final

from ops.dashboards.model import (
    GOOD_AT_ZERO,
    WARN_ABOVE_ZERO,
    Dashboard,
    Panel,
    Query,
    Row,
    quantiles,
    stat,
)

_OF_ROLE: Final = "on (job, instance) group_left (role) orch_build_info"

_KEPT: Final = Row(
    "Did it keep what it acknowledged?",
    (
        stat("Writes lost, at least", "short",
             "Writes that Redis acknowledged and later did not have. Each process counts what it can prove: the largest count, never the sum.",
             "max(orch_acked_writes_lost_total)", steps=GOOD_AT_ZERO),
        stat("Server restarts seen", "short", "In the chosen time: times that a process met another incarnation of the server. The largest count of one process.",
             "max(increase(orch_server_restarts_total[$__range]))", steps=WARN_ABOVE_ZERO, decimals=0),
        stat("Indexes mended", "short", "In the chosen time. A sound shard needs none: without a restart, please report it.",
             "sum(increase(orch_reaper_repairs_total[$__range]))", steps=WARN_ABOVE_ZERO, decimals=0),
        stat("Calls given up", "short", "In the chosen time: calls that ended in a failure after all repeats.",
             "sum(increase(orch_redis_failures_total[$__range]))", steps=WARN_ABOVE_ZERO, decimals=0),
        stat("A repair sweep took", "s", "The mean of the chosen time. It grows with the number of keys.",
             "sum(increase(orch_reaper_sweep_seconds_sum[$__range])) / (sum(increase(orch_reaper_sweep_seconds_count[$__range])) > 0)"),
        stat("Age of the reading", "s", "Of what is told of the cluster. Above 10 s it is not told any more.",
             "max(orch_cluster_reading_age_seconds)", steps=(("green", None), ("orange", 10))),
        Panel("Writes lost by process", "short", "The processes that proved a loss. See durability in docs/operations.md.",
              (Query("max by (job, instance) (orch_acked_writes_lost_total)", "{{instance}}"),), steps=GOOD_AT_ZERO),
        Panel("Server restarts", "short", "In the interval: times that a process met another incarnation of the server. The largest count of one process: one restart is one, however many met it.",
              (Query("max(increase(orch_server_restarts_total[$__rate_interval]))", "restarts"),)),
        Panel("Repairs by index", "short", "Indexes that disagreed with a job or an instance and were mended, in the interval. Expected after a loss only.",
              (Query("sum by (index) (increase(orch_reaper_repairs_total[$__rate_interval]))", "{{index}}"),), stacked=True),
    ),
)  # fmt: skip

_FAST: Final = Row(
    "Is it fast, and does it answer?",
    (
        Panel("Time of calls", "s", "From asking the server to its answer, repeats included, 99 of 100, by function; blocking reads are not in it.",
              quantiles("orch_redis_call_seconds", "call", "{{call}}", 0.99), steps=(("green", None), ("orange", 0.1))),
        Panel("Median time of calls", "s", "The same, 50 of 100. With `appendfsync always` it is mostly the disk.",
              quantiles("orch_redis_call_seconds", "call", "{{call}}", 0.5)),
        Panel("Calls", "suffix: calls/s", "By function.", (Query("sum by (call) (rate(orch_redis_call_seconds_count[$__rate_interval]))", "{{call}}"),), stacked=True),
        Panel("Commands by role", "suffix: commands/s", "Commands sent to the server, repeats and blocking reads too.",
              (Query(f"sum by (role) (rate(orch_redis_round_trips_total[$__rate_interval]) * {_OF_ROLE})", "{{role}}"),), stacked=True),
        Panel("Commands for each attempt", "short", "All commands of all processes by attempts begun; nothing while none begins. High in a quiet house; under load it is a few.",
              (Query("sum(rate(orch_redis_round_trips_total[$__rate_interval])) / (sum(rate(orch_runner_claims_total[$__rate_interval])) > 0)", "commands"),)),
        Panel("Repeats", "suffix: repeats/s", "Commands sent again because the server could not be reached or was not ready.",
              (Query(f"sum by (role) (rate(orch_redis_retries_total[$__rate_interval]) * {_OF_ROLE})", "{{role}}"),), stacked=True),
        Panel("Failures", "suffix: calls/s", "Calls given up. `unavailable` passes; `refused` wants another user, address or server; `corrupt` and `misuse`: please report.",
              (Query("sum by (kind) (rate(orch_redis_failures_total[$__rate_interval]))", "{{kind}}"),), stacked=True),
        Panel("Jobs removed after retention", "suffix: jobs/s", "Finished jobs whose retention was over.",
              (Query("sum(rate(orch_reaper_retired_total[$__rate_interval]))", "jobs"),)),
        Panel("Repair sweeps", "s", "How long a sweep over all keys took, 95 of 100.", quantiles("orch_reaper_sweep_seconds", "", "", 0.95)),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "redis", "Redis and durability", "Is Redis fast, does it answer, and did it keep what it acknowledged?", (_KEPT, _FAST),
)  # fmt: skip
