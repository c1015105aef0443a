"""Do runners have room, do their attempts end well, and who died?"""

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

_ROOM: Final = Row(
    "Room",
    (
        stat("Live runners", "short", "Runners that nobody has declared dead.",
             'sum(max by (pool) (orch_cluster_runners{pool=~"$pool"}))', steps=(("red", None), ("green", 1))),
        stat("Slots", "short", "Jobs that live runners may run at once.", 'sum(max by (pool) (orch_cluster_slots{pool=~"$pool"}))'),
        stat("Slots held", "short", "Slots that hold a job.", 'sum(max by (pool) (orch_cluster_slots_held{pool=~"$pool"}))'),
        stat("Slots free", "short", "Free slots of runners that nobody drains. 0 for long, and jobs wait: add runners.",
             'sum(max by (pool) (orch_cluster_slots_free{pool=~"$pool"}))', steps=(("orange", None), ("green", 1))),
        stat("Runners drained", "short", "Runners that take nothing new, because operators drain them.",
             'sum(orch_runner_draining{pool=~"$pool"})', steps=WARN_ABOVE_ZERO),
        stat("Jobs taken from the dead", "short", "In the chosen time, of all pools: jobs of runners that a reaper or a supervisor declared dead. They run again elsewhere.",
             "sum(increase(orch_cluster_stale_recovered_total[$__range]))", steps=WARN_ABOVE_ZERO, decimals=0),
        Panel("Slots by pool", "short", "All slots of a pool, and those that hold a job.",
              (Query('max by (pool) (orch_cluster_slots{pool=~"$pool"})', "{{pool}} slots"),
               Query('max by (pool) (orch_cluster_slots_held{pool=~"$pool"})', "{{pool}} held"))),
        Panel("Use of each runner", "percentunit", "Jobs that a runner holds, as a share of its slots. One far below the others is drained, or lacks what jobs ask for.",
              (Query('orch_runner_attempts{pool=~"$pool"} / orch_runner_slots{pool=~"$pool"}', "{{pool}} {{instance}}"),)),
        Panel("Runners by pool", "short", "A step down that nobody ordered is a runner that died.",
              (Query('max by (pool) (orch_cluster_runners{pool=~"$pool"})', "{{pool}}"),), stacked=True),
    ),
)  # fmt: skip

_ATTEMPTS: Final = Row(
    "Attempts",
    (
        Panel("Attempts begun", "suffix: attempts/s", "Claims of all runners of a pool.",
              (Query('sum by (pool) (rate(orch_runner_claims_total{pool=~"$pool"}[$__rate_interval]))', "{{pool}}"),), stacked=True),
        Panel("Ends by class", "suffix: attempts/s", "`transient` and `throttled` are tried again by policy; `environment` and `resource` speak of the runner's machine.",
              (Query('sum by (pool, outcome) (rate(orch_runner_outcomes_total{pool=~"$pool"}[$__rate_interval]))', "{{pool}} {{outcome}}"),), stacked=True),
        Panel("Share that ended well", "percentunit", "Attempts that ended `done`, of all whose end was accepted.",
              (Query('sum by (pool) (rate(orch_runner_outcomes_total{outcome="done", pool=~"$pool"}[$__rate_interval])) / '
                     '(sum by (pool) (rate(orch_runner_outcomes_total{pool=~"$pool"}[$__rate_interval])) > 0)', "{{pool}}"),)),
        Panel("Time of an attempt", "s", "From claim to end on the runner.",
              quantiles("orch_runner_attempt_seconds", "pool", "{{pool}}", 0.5, 0.95, 0.99, where='pool=~"$pool"')),
        Panel("Spread of attempt times", "s", "Attempts that ended in the interval, by how long they took.",
              (Query('sum by (le) (increase(orch_runner_attempt_seconds_bucket{pool=~"$pool"}[$__rate_interval]))', "{{le}}"),), kind="heatmap"),
        Panel("Ends by how the store was told", "suffix: attempts/s", "`settle` is an end; `handback` is a runner that leaves; `release` goes to fallback, which decides. Of all pools.",
              (Query('sum by (verb) (rate(orch_runner_endings_total{accepted=~"ok|same"}[$__rate_interval]))', "{{verb}}"),), stacked=True),
    ),
)  # fmt: skip

_DEATHS: Final = Row(
    "Deaths, and what came too late, in all pools",
    (
        Panel("Processes declared dead", "short", "In the interval, of every role, by a reaper or a supervisor. A rollout that stops processes cleanly makes none.",
              (Query("sum(increase(orch_cluster_burials_total[$__rate_interval]))", "burials"),), steps=GOOD_AT_ZERO),
        Panel("Jobs recovered", "short", "In the interval, of all pools: jobs taken from runners that were declared dead.",
              (Query("sum(increase(orch_cluster_stale_recovered_total[$__rate_interval]))", "jobs"),)),
        Panel("Leases lost", "short", "Runners that learned that they had been declared dead: they were too slow to beat, not gone. Check lease_ms and the machine.",
              (Query("sum by (job, instance) (increase(orch_runner_leases_lost_total[$__rate_interval]))", "{{instance}}"),), steps=GOOD_AT_ZERO),
        Panel("Ends that came too late or again", "suffix: attempts/s",
              "`over`: the claim was over, and the fence kept them out. `same`: an end that had been taken was told again, because its answer was lost; it counts once.",
              (Query('sum by (accepted) (rate(orch_runner_endings_total{accepted!="ok"}[$__rate_interval]))', "{{accepted}}"),)),
        Panel("Orphaned results", "short", "Results of claims that were over, in the interval: kept as evidence, never counted.",
              (Query("sum(increase(orch_runner_orphaned_results_total[$__rate_interval]))", "results"),)),
        Panel("Hints repeated", "short", "Hints about outcomes that reapers had to repeat, because nobody had acted on the first.",
              (Query("sum(increase(orch_reaper_announced_total[$__rate_interval]))", "hints"),)),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "runners", "Runners", "Do runners have room, do their attempts end well, and who died?", (_ROOM, _ATTEMPTS, _DEATHS),
)  # fmt: skip
