"""Which metrics exist: the source of metrics.lint.json, the contract with dashboards and alerts.

No label is ever unbounded: its values are listed, or their number is. A metric that is not here cannot be
made (`orch.telemetry.metrics` builds the registry from these rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from contracts.defaults import FULL_POLICIES
from contracts.errors import POLICY_LABELS
from contracts.limits import POOLS_MAX

SCHEMA_VERSION: Final = 1
SERIES_TOTAL_MAX: Final = 2_000

RUN_BUCKETS_S: Final = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0)
"""Agent work takes from milliseconds to a working day."""

SEND_BUCKETS_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0)
"""A try ends after 15 s at most."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label: its values, or how many there can be."""

    name: str
    values: tuple[str, ...] | None = None
    max: int | None = None

    @property
    def size(self) -> int:
        """The most values it can take."""
        return len(self.values) if self.values is not None else self.max or 0


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the contract. A counter's name ends in _total, a unit stands before that."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    emitted_by: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] | None = None
    used_by: tuple[str, ...] = ()
    why_unused: str | None = "dashboards and alerts are not built yet"
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
    "schedules", "slots", "group", "leftover", "counters", "active", "aside", "session", "sessions", "unsent", "webhooks",
)  # fmt: skip
COMMAND_NAMES: Final = (
    "drain", "undrain", "pause", "resume", "cancel", "set-limit", "reload", "other",
)  # fmt: skip
"""Of the control stream; `other` is what is no command."""
_POOL: Final = Label("pool", max=POOLS_MAX)
_ROLES: Final = ("admission", "scheduler", "runner", "reaper", "fallback", "notifier", "gateway", "supervisor")


def _rows() -> tuple[Metric, ...]:
    m = Metric
    return (
        m("orch_build_info", "gauge", "info", "Always 1; the labels say what runs.", "actors/start.py", (Label("version", max=2), Label("role", _ROLES))),
        m("orch_acked_writes_lost_total", "counter", "writes", "Writes that Redis acknowledged and later did not have: at least so many.", "orch/store/connection.py"),
        m("orch_server_restarts_total", "counter", "restarts", "Times this process met another incarnation of the server.", "orch/store/connection.py"),
        m("orch_admission_answers_total", "counter", "answers", "Raw requests answered, by result.", "actors/admission/perform.py", (Label("result", ("accepted", "refused", "backlog")),)),
        m("orch_admission_refusals_total", "counter", "refusals", "Submissions that this process refused for load, by the rule that said no.", "orch/store/admission.py", (Label("policy_label", POLICY_LABELS),)),
        m("orch_admission_evictions_total", "counter", "jobs", "Waiting jobs that gave way to a newcomer, by the pool's full_policy.", "orch/store/admission.py", (Label("policy", FULL_POLICIES[1:]),)),
        m("orch_fallback_decisions_total", "counter", "decisions", "What fallback decided about outcomes.", "actors/fallback/perform.py", (Label("verb", ("retry", "backoff", "fail", "block")),)),
        m("orch_reaper_burials_total", "counter", "burials", "Instances declared dead by this reaper.", "actors/reaper/perform.py"),
        m("orch_reaper_announced_total", "counter", "hints", "Outcome hints that had to be repeated.", "actors/reaper/perform.py"),
        m("orch_reaper_repairs_total", "counter", "repairs", "Indexes that disagreed with a job or an instance and were mended.", "actors/reaper/sweep.py", (Label("index", REPAIRED_INDEXES),)),
        m("orch_scheduler_timers_total", "counter", "timers", "Timers handled when they were due.", "actors/scheduler/perform.py"),
        m("orch_notifier_tries_total", "counter", "tries", "Webhook deliveries tried, by what became of them.", "actors/notifier/perform.py", (Label("result", ("delivered", "again", "dead")),)),
        m("orch_notifier_try_seconds", "histogram", "seconds", "How long one try of a webhook delivery took.", "actors/notifier/perform.py", (), SEND_BUCKETS_S),
        m("orch_notifier_oldest_unsent_seconds", "gauge", "seconds", "Age of the oldest delivery that was due when this notifier last looked; 0 when none was.", "actors/notifier/perform.py"),
        m("orch_scheduler_fires_total", "counter", "fires", "Times of schedules that this scheduler carried out, by what came of them.", "actors/scheduler/schedules.py", (Label("result", ("fired", "skipped", "refused", "missed", "moved", "broken")),)),
        m("orch_runner_slots", "gauge", "jobs", "Jobs this runner may run at once.", "actors/runner/perform.py", (_POOL,)),
        m("orch_runner_draining", "gauge", "state", "1 while operators drain this runner: it takes nothing new.", "actors/runner/drain.py", (_POOL,)),
        m("orch_control_commands_total", "counter", "commands", "Commands of operators that this scheduler settled, by result.", "actors/scheduler/commands.py", (Label("command", COMMAND_NAMES), Label("result", ("applied", "refused")))),
        m("orch_runner_attempts", "gauge", "jobs", "Jobs this runner holds now.", "actors/runner/perform.py", (_POOL,)),
        m("orch_runner_endings_total", "counter", "attempts", "Attempts that ended, by how the store was told.", "actors/runner/perform.py", (Label("verb", ("settle", "release", "ask", "handback", "stop")), Label("accepted", ("ok", "same", "over")))),
        m("orch_runner_attempt_seconds", "histogram", "seconds", "From claim to end of an attempt on this runner.", "actors/runner/perform.py", (), RUN_BUCKETS_S),
    )


CATALOGUE: Final = MappingProxyType({row.name: row for row in _rows()})
assert sum(row.series_max for row in CATALOGUE.values()) <= SERIES_TOTAL_MAX
