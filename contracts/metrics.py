"""Which metrics exist: the source of metrics.lint.json, the contract with dashboards and alerts.

No label is ever unbounded: its values are listed, or their number is. A metric that is not here cannot be
made (`orch.telemetry.metrics` builds the registry from these rows), and `orch lint metrics` compares the
rows with the code, with a scrape, and with every query of dashboards and rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from contracts.defaults import FULL_POLICIES
from contracts.errors import POLICY_LABELS
from contracts.limits import POOLS_MAX, PRIORITY_CLASSES_MAX
from contracts.outcomes import Outcome
from contracts.states import TERMINAL, State

SCHEMA_VERSION: Final = 1
SERIES_TOTAL_MAX: Final = 4_000
"""Of all rows together, each as one process may have it; no process has all rows."""

WORK_BUCKETS_S: Final = (
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 21600.0,
)  # fmt: skip
"""Agent work takes from milliseconds to a working day."""
CALL_BUCKETS_S: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""A call is repeated for 5 s at most."""
LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
SEND_BUCKETS_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0)
"""A try ends after 15 s at most."""
SWEEP_BUCKETS_S: Final = (0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class Label:
    """One label: its values, or how many there can be."""

    name: str
    values: tuple[str, ...] | None = None
    max: int | None = None
    each: int | None = None
    """How many of them one process can have, where that is fewer: a runner serves one pool."""

    @property
    def size(self) -> int:
        """The most values it can take in one process."""
        return self.each or (len(self.values) if self.values is not None else self.max or 0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the contract. A counter's name ends in _total, a unit stands before that.

    `emitted_by` is the file that gives it its numbers. Who uses it is looked up in dashboards and rules when
    the lint file is made; what nobody uses says why in `why_unused`."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    emitted_by: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] | None = None
    why_unused: str | None = None
    since: str = "0.1.0"

    @property
    def series_max(self) -> int:
        """The most series it can have in one process."""
        series = 1
        for label in self.labels:
            series *= label.size
        return series * (len(self.buckets) + 3 if self.buckets else 1)


REPAIRED_INDEXES: Final = (
    "queue", "turn", "ready", "due", "held", "instances", "undecided", "claim", "retire", "dead", "jobs", "idem",
    "schedules", "slots", "group", "leftover", "counters", "active", "keyed", "aside", "session", "sessions", "unsent", "webhooks",
)  # fmt: skip
COMMAND_NAMES: Final = (
    "drain", "undrain", "pause", "resume", "cancel", "set-limit", "reload", "other",
)  # fmt: skip
"""Of the control stream; `other` is what is no command."""
CYCLES: Final = (
    "beat", "follow", "mailbox", "timers", "commands", "cycle", "listen", "look", "announce", "finish_burials", "sweep",
    "retire", "libraries", "census", "notifier", "ping", "feed", "http",
)  # fmt: skip
"""The loops of all actors, by which health is judged; docs/metrics.md says whose they are."""
CALLS: Final = (
    "admit", "cycle", "reclaim", "decide", "due", "dispatch", "note", "emit", "beat", "bury", "repair", "census", "other",
    "command",
)  # fmt: skip
"""Functions that are timed by name; `other` is any other one, `command` a plain command."""
SUBMISSION_RESULTS: Final = (
    "accepted", "duplicate", "conflict", "load", "deadline", "invalid", "other",
)  # fmt: skip
"""`duplicate` got the first job's answer, `conflict` has its key or id with other content."""
LIVE_STATES: Final = tuple(state.value for state in State if state not in TERMINAL)
ROLES: Final = ("admission", "scheduler", "runner", "reaper", "fallback", "notifier", "gateway")

_POOL: Final = Label("pool", max=POOLS_MAX)
_OWN_POOL: Final = Label("pool", max=POOLS_MAX, each=1)
_CLASS: Final = Label("class", max=PRIORITY_CLASSES_MAX + 1)
"""As configured; of jobs whose class is gone, `other`."""
_OUTCOME: Final = Label("outcome", tuple(outcome.value for outcome in Outcome))


def _of_every_process() -> tuple[Metric, ...]:
    m, start, system = Metric, "actors/start.py", "orch/telemetry/metrics.py"
    cycle = Label("cycle", CYCLES)
    return (
        m("orch_build_info", "gauge", "info", "Always 1; the labels say what runs.", start, (Label("version", max=2, each=1), Label("role", ROLES, each=1))),
        m("orch_ready", "gauge", "state", "1 while this process is ready: every cycle is fresh, and nobody drains it.", "orch/telemetry/health.py"),
        m("orch_cycle_age_seconds", "gauge", "seconds", "Time since each loop of this process last came round well.", "orch/telemetry/health.py", (cycle,)),
        m("orch_cycle_stale_seconds", "gauge", "seconds", "From which age on a loop counts as stuck.", "orch/telemetry/health.py", (cycle,)),
        m("orch_event_loop_lag_seconds", "histogram", "seconds", "How late the event loop woke a task that slept a second; sampled, one a second.", "actors/pulse.py", (), LAG_BUCKETS_S),
        m("orch_redis_round_trips_total", "counter", "commands", "Commands sent to the server, repeats and blocking reads too.", start),
        m("orch_redis_retries_total", "counter", "repeats", "Commands that were sent again because the server could not be reached or was not ready.", start),
        m("orch_redis_failures_total", "counter", "calls", "Calls given up, by the kind of their failure.", start, (Label("kind", ("unavailable", "refused", "corrupt", "misuse")),)),
        m("orch_redis_call_seconds", "histogram", "seconds", "From asking the server to its answer, repeats included, by function; blocking reads are not in it.", start, (Label("call", CALLS),), CALL_BUCKETS_S),
        m("orch_acked_writes_lost_total", "counter", "writes", "Writes that Redis acknowledged and later did not have: at least so many.", start),
        m("orch_server_restarts_total", "counter", "restarts", "Times this process met another incarnation of the server.", start),
        m("orch_admission_submissions_total", "counter", "submissions", "Submissions that this process brought to admission or turned away before it, at every door (schedules and replays too), by what became of them.", start, (Label("result", SUBMISSION_RESULTS),)),
        m("orch_admission_refusals_total", "counter", "refusals", "Submissions that this process refused for load, by the rule that said no.", start, (Label("policy_label", POLICY_LABELS),)),
        m("orch_admission_evictions_total", "counter", "jobs", "Waiting jobs that gave way to a submission or a replay, by the pool's full_policy; one that gave way to the job of a schedule is on its own ledger alone.", start, (Label("policy", FULL_POLICIES[1:]),)),
        m("process_cpu_seconds_total", "counter", "seconds", "Processor time of this process.", system),
        m("process_resident_memory_bytes", "gauge", "bytes", "Memory of this process that is in RAM.", system),
        m("process_open_fds", "gauge", "files", "Open files and sockets of this process.", system),
        m("process_max_fds", "gauge", "files", "How many it may open.", system),
        m("process_start_time_seconds", "gauge", "seconds", "When this process started, Unix time.", system),
    )  # fmt: skip


def _of_roles() -> tuple[Metric, ...]:
    m = Metric
    runner, reaper = "actors/runner/figures.py", "actors/reaper/perform.py"
    return (
        m("orch_admission_answers_total", "counter", "answers", "Raw requests of the stream answered, by result.", "actors/admission/perform.py", (Label("result", ("accepted", "refused", "backlog")),)),
        m("orch_fallback_outcomes_total", "counter", "outcomes", "Outcomes that fallback settled, by the class of the attempt's end.", "actors/fallback/perform.py", (_OUTCOME,)),
        m("orch_fallback_decisions_total", "counter", "decisions", "What fallback decided about outcomes.", "actors/fallback/perform.py", (Label("verb", ("retry", "backoff", "fail", "block")),)),
        m("orch_reaper_announced_total", "counter", "hints", "Outcome hints that had to be repeated.", reaper),
        m("orch_reaper_retired_total", "counter", "jobs", "Finished jobs removed because their retention was over.", reaper),
        m("orch_reaper_repairs_total", "counter", "repairs", "Indexes that disagreed with a job or an instance and were mended.", "actors/reaper/sweep.py", (Label("index", REPAIRED_INDEXES),)),
        m("orch_reaper_sweep_seconds", "histogram", "seconds", "How long a repair sweep over all keys took.", "actors/reaper/sweep.py", (), SWEEP_BUCKETS_S),
        m("orch_scheduler_timers_total", "counter", "timers", "Timers handled when they were due.", "actors/scheduler/perform.py"),
        m("orch_scheduler_fires_total", "counter", "fires", "Times of schedules that this scheduler carried out, by what came of them.", "actors/scheduler/schedules.py", (Label("result", ("fired", "skipped", "refused", "missed", "moved", "broken")),)),
        m("orch_control_commands_total", "counter", "commands", "Commands that this scheduler settled, by result: of operators, and the drains by which a supervisor carries out a reload.", "actors/scheduler/commands.py", (Label("command", COMMAND_NAMES), Label("result", ("applied", "refused")))),
        m("orch_notifier_tries_total", "counter", "tries", "Webhook deliveries tried, by what became of them.", "actors/notifier/perform.py", (Label("result", ("delivered", "again", "dead")),)),
        m("orch_notifier_try_seconds", "histogram", "seconds", "How long one try of a webhook delivery took.", "actors/notifier/perform.py", (), SEND_BUCKETS_S),
        m("orch_notifier_oldest_unsent_seconds", "gauge", "seconds", "Age of the oldest delivery that was due when this notifier last looked; 0 when none was.", "actors/notifier/perform.py"),
        m("orch_runner_slots", "gauge", "jobs", "Jobs this runner may run at once.", runner, (_OWN_POOL,)),
        m("orch_runner_draining", "gauge", "state", "1 while operators drain this runner: it takes nothing new.", runner, (_OWN_POOL,)),
        m("orch_runner_attempts", "gauge", "jobs", "Jobs this runner holds now.", runner, (_OWN_POOL,)),
        m("orch_runner_claims_total", "counter", "attempts", "Attempts that this runner began.", runner, (_OWN_POOL,)),
        m("orch_runner_endings_total", "counter", "attempts", "Attempts that ended, by how the store was told.", runner, (Label("verb", ("settle", "release", "ask", "handback", "stop")), Label("accepted", ("ok", "same", "over")))),
        m("orch_runner_outcomes_total", "counter", "attempts", "Attempts whose end was accepted, by the class of the end; a lost one is counted by fallback.", runner, (_OWN_POOL, _OUTCOME)),
        m("orch_runner_orphaned_results_total", "counter", "results", "Results that came when the claim was over: kept as evidence, never counted.", runner),
        m("orch_runner_leases_lost_total", "counter", "leases", "Times this runner learned that it had been declared dead.", runner),
        m("orch_runner_attempt_seconds", "histogram", "seconds", "From claim to end of an attempt on this runner.", runner, (_OWN_POOL,), WORK_BUCKETS_S),
        m("orch_job_submit_to_start_seconds", "histogram", "seconds", "From the moment a job could run (its submission, or the time it was scheduled for) to its first claim, on the server's clock.", runner, (_OWN_POOL, _CLASS), WORK_BUCKETS_S),
        m("orch_agent_tokens_total", "counter", "tokens", "Model tokens that attempts on this runner reported.", runner, (_OWN_POOL, Label("direction", ("in", "out")))),
        m("orch_agent_cost_total", "counter", "money", "Cost that attempts on this runner reported, in their endpoints' unit of money.", runner, (_OWN_POOL,)),
        m("orch_http_responses_total", "counter", "responses", "Answers of the gateway, by the class of their status; those of /livez, /readyz and /metrics are not in it.", "actors/gateway/figures.py", (Label("status", ("1xx", "2xx", "3xx", "4xx", "5xx")),)),
        m("orch_http_request_seconds", "histogram", "seconds", "From the head of a request to the head of its answer, of the same answers.", "actors/gateway/figures.py", (), CALL_BUCKETS_S),
        m("orch_sse_streams", "gauge", "streams", "Event streams that are open on this gateway.", "actors/gateway/figures.py"),
        m("orch_sse_watched_jobs", "gauge", "jobs", "Jobs that somebody watches through this gateway.", "actors/gateway/figures.py"),
        m("orch_sse_gaps_total", "counter", "gaps", "Gap frames sent: a reader was told that history was trimmed.", "actors/gateway/figures.py"),
        m("orch_sse_resyncs_total", "counter", "resyncs", "Times this gateway missed a part of the feed, and every watcher looked again.", "actors/gateway/figures.py"),
    )  # fmt: skip


def _of_the_cluster() -> tuple[Metric, ...]:
    """Told by one reaper at a time (actors/reaper/census.py)."""
    m, where = Metric, "actors/reaper/census.py"
    return (
        m("orch_cluster_exporting", "gauge", "state", "1 on the one reaper that tells what the cluster as a whole does, else 0.", where),
        m("orch_cluster_reading_age_seconds", "gauge", "seconds", "Age of the reading behind orch_cluster_…", where),
        m("orch_cluster_queue_depth", "gauge", "jobs", "Jobs that wait for a slot.", where, (_POOL, _CLASS)),
        m("orch_cluster_queue_oldest_age_seconds", "gauge", "seconds", "How long the longest waiting of them has waited; of at most 100 tenants a class.", where, (_POOL, _CLASS)),
        m("orch_cluster_ready", "gauge", "jobs", "Jobs given to a pool that no runner has claimed yet; entries of jobs canceled meanwhile go with the next claim.", where, (_POOL,)),
        m("orch_cluster_runners", "gauge", "runners", "Live runners.", where, (_POOL,)),
        m("orch_cluster_slots", "gauge", "slots", "Slots of live runners.", where, (_POOL,)),
        m("orch_cluster_slots_held", "gauge", "slots", "Slots that hold a job.", where, (_POOL,)),
        m("orch_cluster_slots_free", "gauge", "slots", "Free slots of runners that nobody drains.", where, (_POOL,)),
        m("orch_cluster_pool_closed", "gauge", "state", "1 while operators keep that of a pool closed.", where, (_POOL, Label("what", ("drain", "intake", "dispatch")))),
        m("orch_cluster_instances", "gauge", "processes", "Registered processes that nobody has declared dead.", where, (Label("role", (*ROLES, "supervisor")),)),
        m("orch_cluster_tenants", "gauge", "tenants", "Tenants that have ever had a job.", where),
        m("orch_cluster_jobs", "gauge", "jobs", "Jobs by state, finished ones until their retention is over; as the last repair sweep counted them.", where, (Label("state", tuple(state.value for state in State)),)),
        m("orch_cluster_dead_letters", "gauge", "jobs", "Failed jobs that nobody has replayed; of at most 1,000 tenants.", where),
        m("orch_cluster_timers", "gauge", "timers", "Timers that are set: retries, start times, deadlines, questions, schedules.", where),
        m("orch_cluster_timers_overdue_seconds", "gauge", "seconds", "By how much the first timer is late; 0 when none is.", where),
        m("orch_cluster_undecided", "gauge", "outcomes", "Outcomes that fallback has not decided about.", where),
        m("orch_cluster_undecided_oldest_age_seconds", "gauge", "seconds", "Age of the oldest of them, of at most 200 that are looked at; 0 when there is none.", where),
        m("orch_cluster_requests", "gauge", "requests", "Raw requests that wait in their stream.", where),
        m("orch_cluster_commands", "gauge", "commands", "Commands of operators that wait to be applied.", where),
        m("orch_cluster_commands_open", "gauge", "commands", "Applied commands that somebody has not acknowledged.", where),
        m("orch_cluster_webhooks_unsent", "gauge", "webhooks", "Webhooks that have deliveries to send.", where),
        m("orch_cluster_burials_total", "counter", "burials", "Instances declared dead, by a reaper or by a supervisor, since the data began.", where),
        m("orch_cluster_stale_recovered_total", "counter", "jobs", "Jobs taken from runners that were declared dead (stale_recovered), since the data began.", where),
        m("orch_cluster_state_seconds", "histogram", "seconds", "How long jobs were in a state that they left; sampled: of a few jobs that moved since the last reading.", "actors/reaper/samples.py", (Label("state", LIVE_STATES),), WORK_BUCKETS_S),
    )  # fmt: skip


OF_EVERY_PROCESS: Final = _of_every_process()
OF_ROLES: Final = _of_roles()
OF_THE_CLUSTER: Final = _of_the_cluster()
CATALOGUE: Final = MappingProxyType(
    {row.name: row for row in (*OF_EVERY_PROCESS, *OF_ROLES, *OF_THE_CLUSTER)}
)
assert sum(row.series_max for row in CATALOGUE.values()) <= SERIES_TOTAL_MAX
