"""Is the house well, and what does it do?"""

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

_WELL: Final = Row(
    "Is it well?",
    (
        stat("Processes not ready", "short",
             "Processes that answer and are not ready: a loop is too old, or somebody drains them. `/readyz` of the process names the loop.",
             "count(orch_ready) - sum(orch_ready)", steps=GOOD_AT_ZERO, width=3),
        stat("Stuck loops", "short",
             "Loops whose last good turn is older than they may be. The panel of ages below says which.",
             "sum(orch_cycle_age_seconds > bool on (job, instance, cycle) orch_cycle_stale_seconds)",
             steps=GOOD_AT_ZERO, width=3),
        stat("Reapers that tell of the cluster", "short",
             "One reaper at a time tells of the whole cluster. At 0 all panels of queues and slots stand still: see that a reaper is there.",
             "sum(orch_cluster_exporting) or vector(0)", steps=(("red", None), ("green", 1), ("red", 2)), width=3),
        stat("Jobs waiting", "short", "Jobs that wait for a slot, all classes of the chosen pools.",
             'sum(max by (pool, class) (orch_cluster_queue_depth{pool=~"$pool"})) or max(orch_cluster_tenants) * 0', width=3),
        stat("Longest wait", "s", "How long the oldest waiting job has waited. Red is an hour: change it to what you promise.",
             'max(orch_cluster_queue_oldest_age_seconds{pool=~"$pool"}) or max(orch_cluster_tenants) * 0',
             steps=(("green", None), ("orange", 300), ("red", 3600)), width=3),
        stat("Slots in use", "percentunit", "Share of the slots of live runners that hold a job. Full slots and a growing line: add runners.",
             'sum(max by (pool) (orch_cluster_slots_held{pool=~"$pool"})) / (sum(max by (pool) (orch_cluster_slots{pool=~"$pool"})) > 0)',
             steps=(("green", None), ("orange", 0.9)), decimals=0, width=3),
        stat("Dead letters", "short", "Failed jobs that nobody has replayed or let go. `orch dead-letter list` shows them.",
             "max(orch_cluster_dead_letters)", steps=WARN_ABOVE_ZERO, width=3),
        stat("Acknowledged writes lost", "short",
             "Writes that Redis acknowledged and later did not have: at least so many. The largest count of a process, never their sum.",
             "max(orch_acked_writes_lost_total)", steps=GOOD_AT_ZERO, width=3),
    ),
)  # fmt: skip

_TRAFFIC: Final = Row(
    "Traffic",
    (
        Panel("Submissions", "suffix: jobs/s", "What became of submissions at every door. `load` was refused: see the dashboard of queues.",
              (Query("sum by (result) (rate(orch_admission_submissions_total[$__rate_interval]))", "{{result}}"),), stacked=True),
        Panel("Attempts by outcome", "suffix: attempts/s", "How attempts ended, by class; `lost` are those of runners that died, of all pools.",
              (Query('sum by (outcome) (rate(orch_runner_outcomes_total{pool=~"$pool"}[$__rate_interval]))', "{{outcome}}"),
               Query('sum by (outcome) (rate(orch_fallback_outcomes_total{outcome="lost"}[$__rate_interval]))', "{{outcome}}")), stacked=True),
        Panel("Submit to start", "s", "From the moment a job could run to its first claim. Rising with free slots: look at the scheduler and at Redis.",
              quantiles("orch_job_submit_to_start_seconds", "", "", 0.5, 0.95, 0.99, where='pool=~"$pool"')),
        Panel("Jobs by state", "short", "All jobs that are kept, as the last repair sweep counted them: 10 seconds to some 10 minutes old.",
              (Query("max by (state) (orch_cluster_jobs)", "{{state}}"),), stacked=True),
        Panel("Time in a state", "s", "How long jobs were in a state that they left, 95 of 100. Sampled: the shape is true, the count is not.",
              quantiles("orch_cluster_state_seconds", "state", "{{state}}", 0.95)),
        Panel("Tenants", "short", "Tenants that have ever had a job.", (Query("max(orch_cluster_tenants)", "tenants"),)),
    ),
)  # fmt: skip

_DOOR: Final = Row(
    "Front door",
    (
        Panel("HTTP answers", "reqps", "Answers of all gateways by the class of their status. 5xx is ours; 4xx is a refusal or a caller's mistake.",
              (Query("sum by (status) (rate(orch_http_responses_total[$__rate_interval]))", "{{status}}"),), stacked=True),
        Panel("HTTP answer time", "s", "From the head of a request to the head of its answer; an event stream counts until it begins.",
              quantiles("orch_http_request_seconds", "", "", 0.5, 0.95, 0.99)),
        Panel("Event streams", "short", "Open streams, and the jobs that they watch.",
              (Query("sum(orch_sse_streams)", "streams"), Query("sum(orch_sse_watched_jobs)", "watched jobs"))),
        Panel("Gaps in event streams", "short",
              "Readers that were told that history is gone, and times a gateway missed a part of the feed and looked again; each in the interval.",
              (Query("sum(increase(orch_sse_gaps_total[$__rate_interval]))", "gaps"),
               Query("sum(increase(orch_sse_resyncs_total[$__rate_interval]))", "resyncs")), width=12),
        Panel("Event-loop lag", "s", "How late the loop of each process wakes, 99 of 100. Above 0.1 s its machine is too busy.",
              quantiles("orch_event_loop_lag_seconds", "job, instance", "{{instance}}", 0.99),
              steps=(("green", None), ("red", 0.1)), width=12),
    ),
)  # fmt: skip

_PROCESSES: Final = Row(
    "Processes",
    (
        Panel("Processes by role", "short", "Registered processes that nobody has declared dead.",
              (Query("max by (role) (orch_cluster_instances)", "{{role}}"),), stacked=True),
        Panel("Versions", "short", "Processes that are scraped, by version and role. Two versions: a rollout is under way.",
              (Query("count by (version, role) (orch_build_info)", "{{version}} {{role}}"),), stacked=True),
        Panel("Age of loops against their bound", "percentunit",
              "The age of each loop's last good turn, as a share of what it may be; the worst process counts. At 100 % it is stuck.",
              (Query("max by (cycle) (orch_cycle_age_seconds / on (job, instance, cycle) orch_cycle_stale_seconds)", "{{cycle}}"),),
              steps=(("green", None), ("red", 1))),
        Panel("Processor", "percentunit", "Of one core. An actor is one process with one loop: near 100 % add another of its role.",
              (Query(f"rate(process_cpu_seconds_total[$__rate_interval]) * {_OF_ROLE}", "{{role}} {{instance}}"),), width=6),
        Panel("Memory", "bytes", "Resident memory of each process; agents of runners are processes of their own, and not in it.",
              (Query(f"process_resident_memory_bytes * {_OF_ROLE}", "{{role}} {{instance}}"),), width=6),
        Panel("Open files", "percentunit", "Open files and sockets, as a share of what the process may open.",
              (Query(f"(process_open_fds / on (job, instance) process_max_fds) * {_OF_ROLE}", "{{role}} {{instance}}"),),
              steps=(("green", None), ("red", 0.8)), width=6),
        Panel("Time since start", "s", "A saw: the process dies again and again, see its log.",
              (Query(f"(time() - process_start_time_seconds) * {_OF_ROLE}", "{{role}} {{instance}}"),), width=6),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "overview", "Overview", "Is the house well, what does it do, and which process is in trouble?",
    (_WELL, _TRAFFIC, _DOOR, _PROCESSES),
)  # fmt: skip
