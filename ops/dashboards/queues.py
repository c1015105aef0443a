"""What waits, since when, and who was sent away?"""

from __future__ import annotations

from typing import Final

from ops.dashboards.model import WARN_ABOVE_ZERO, Dashboard, Panel, Query, Row, quantiles, stat

_WAITING: Final = Row(
    "What waits",
    (
        Panel("Jobs waiting by class", "short", "Jobs that wait for a slot, of each class that has or had some. A line that only grows needs more slots.",
              (Query('max by (pool, class) (orch_cluster_queue_depth{pool=~"$pool"})', "{{pool}} {{class}}"),), stacked=True),
        Panel("Longest wait by class", "s", "How long the oldest waiting job of the class has waited; of the heads of at most 100 tenants' lines.",
              (Query('max by (pool, class) (orch_cluster_queue_oldest_age_seconds{pool=~"$pool"})', "{{pool}} {{class}}"),)),
        Panel("Given to a pool, not claimed", "short", "Jobs that a runner may claim at once. Many for long: runners do not call, look at their loops.",
              (Query('max by (pool) (orch_cluster_ready{pool=~"$pool"})', "{{pool}}"),)),
        Panel("Wait before the first claim", "s", "From the moment a job could run to its first claim, by class.",
              quantiles("orch_job_submit_to_start_seconds", "class", "{{class}}", 0.5, 0.95, where='pool=~"$pool"')),
        Panel("Spread of waits", "s", "First claims of the interval by how long their jobs had waited.",
              (Query('sum by (le) (increase(orch_job_submit_to_start_seconds_bucket{pool=~"$pool"}[$__rate_interval]))', "{{le}}"),), kind="heatmap"),
        Panel("Closed pools", "short", "1 while operators keep the pool's intake or dispatch closed, or drain it. Jobs wait on purpose.",
              (Query('max by (pool, what) (orch_cluster_pool_closed{pool=~"$pool"})', "{{pool}} {{what}}"),)),
    ),
)  # fmt: skip

_ADMISSION: Final = Row(
    "Admission",
    (
        Panel("Share refused for load", "percentunit", "Of all submissions. They get `retry_after_ms`; who submits must slow down, or the pool must grow.",
              (Query('sum(rate(orch_admission_submissions_total{result="load"}[$__rate_interval])) / '
                     "(sum(rate(orch_admission_submissions_total[$__rate_interval])) > 0)", "refused"),), steps=(("green", None), ("orange", 0.01))),
        Panel("Refusals by rule", "suffix: jobs/s", "Which rule said no: a bound of the queue, a rate, a quota of tenant or key, a paused intake, a backlog.",
              (Query("sum by (policy_label) (rate(orch_admission_refusals_total[$__rate_interval]))", "{{policy_label}}"),), stacked=True),
        Panel("Jobs that gave way", "suffix: jobs/s", "Waiting jobs that a submission or a replay displaced, by the pool's full_policy.",
              (Query("sum by (policy) (rate(orch_admission_evictions_total[$__rate_interval]))", "{{policy}}"),), stacked=True),
        Panel("Raw requests waiting", "short", "Requests in the stream that no admission has read. Growing: add admission processes.",
              (Query("max(orch_cluster_requests)", "requests"),), width=12),
        Panel("Raw requests answered", "suffix: answers/s", "Answers to requests of the stream; `backlog` was too late to be worth it.",
              (Query("sum by (result) (rate(orch_admission_answers_total[$__rate_interval]))", "{{result}}"),), stacked=True, width=12),
    ),
)  # fmt: skip

_AFTER: Final = Row(
    "Timers, schedules, commands",
    (
        stat("Timers set", "short", "Retries, start times, deadlines, questions and schedules.", "max(orch_cluster_timers)", width=6),
        stat("First timer late by", "s", "0 when none is late. More than some seconds: no scheduler works, or Redis is slow.",
             "max(orch_cluster_timers_overdue_seconds)", steps=(("green", None), ("orange", 5), ("red", 30)), width=6),
        stat("Commands waiting", "short", "Commands of operators that no scheduler has applied.", "max(orch_cluster_commands)",
             steps=WARN_ABOVE_ZERO, width=6),
        stat("Commands open", "short", "Applied commands that some process has not acknowledged. `orch control list` says who is missing.",
             "max(orch_cluster_commands_open)", steps=WARN_ABOVE_ZERO, width=6),
        Panel("Timers handled", "suffix: timers/s", "Timers that schedulers carried out.",
              (Query("sum(rate(orch_scheduler_timers_total[$__rate_interval]))", "timers"),)),
        Panel("Times of schedules", "short", "Times that came in the interval, by what came of them. `refused` and `broken` want a look: `orch schedule show`.",
              (Query("sum by (result) (increase(orch_scheduler_fires_total[$__rate_interval]))", "{{result}}"),), stacked=True),
        Panel("Commands settled", "short", "Commands in the interval, by result: of operators, and the drains of a reload.",
              (Query("sum by (command, result) (increase(orch_control_commands_total[$__rate_interval]))", "{{command}} {{result}}"),), stacked=True),
    ),
)  # fmt: skip

_FAILURES: Final = Row(
    "Failures and what is done about them",
    (
        Panel("Outcomes not decided", "short", "Failed attempts that fallback has not decided about. Growing: see that a fallback process is there.",
              (Query("max(orch_cluster_undecided)", "outcomes"),)),
        Panel("Oldest undecided outcome", "s", "0 when there is none.",
              (Query("max(orch_cluster_undecided_oldest_age_seconds)", "age"),), steps=(("green", None), ("red", 60))),
        Panel("Dead letters over time", "short", "Failed jobs that nobody has replayed or let go; of at most 1,000 tenants.",
              (Query("max(orch_cluster_dead_letters)", "jobs"),)),
        Panel("Outcomes that fallback settled", "suffix: outcomes/s", "By the class of the attempt's end.",
              (Query("sum by (outcome) (rate(orch_fallback_outcomes_total[$__rate_interval]))", "{{outcome}}"),), stacked=True, width=12),
        Panel("Decisions of fallback", "suffix: decisions/s", "Tried again at once or later, failed, or blocked for a human.",
              (Query("sum by (verb) (rate(orch_fallback_decisions_total[$__rate_interval]))", "{{verb}}"),), stacked=True, width=12),
    ),
)  # fmt: skip

_WEBHOOKS: Final = Row(
    "Webhooks",
    (
        Panel("Webhooks with deliveries to send", "short", "Growing: a receiver is down, or a notifier is missing.",
              (Query("max(orch_cluster_webhooks_unsent)", "webhooks"),), width=6),
        Panel("Oldest delivery that was due", "s", "Of the delivery that has waited longest; 0 when none was due.",
              (Query("max(orch_notifier_oldest_unsent_seconds)", "age"),), steps=(("green", None), ("red", 300)), width=6),
        Panel("Delivery tries", "suffix: tries/s", "`again` will be tried again, `dead` never: `orch webhook deliveries` says why.",
              (Query("sum by (result) (rate(orch_notifier_tries_total[$__rate_interval]))", "{{result}}"),), stacked=True, width=6),
        Panel("Time of a try", "s", "How long receivers take. A try ends after 15 s.",
              quantiles("orch_notifier_try_seconds", "", "", 0.5, 0.95), width=6),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "queues", "Queues", "What waits and since when, who was sent away, and what became of failures?",
    (_WAITING, _ADMISSION, _AFTER, _FAILURES, _WEBHOOKS),
)  # fmt: skip
