"""Every setting an operator may change: its default, unit, bounds, environment name and meaning.

docs/configuration.md, .env.example, the command line's help and the JSON Schema of orch.toml are
generated from or checked against this module (CFG-1). Bounds that nobody may change are in `limits.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from contracts import limits

FULL_POLICIES: Final = ("reject", "drop-lru", "shed-low-priority")
"""What becomes of a submission that meets a bound, and of whom it displaces."""


@dataclass(frozen=True, slots=True)
class Default:
    """One setting.

    `minimum` and `maximum` bound a number or the length of a list, `choices` bounds a string; None means unbounded. A `list`
    setting is written as a TOML array, in the environment as comma-separated words.
    """

    key: str
    value: int | float | str | bool | tuple[str, ...] | None
    unit: str
    meaning: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return f"ORCH_{self.key.upper()}"


def _rows() -> tuple[Default, ...]:
    d = Default
    return (
        d("redis_url", None, "url", "Redis or Valkey to use; without one, `orch up` starts a private Valkey in the home."),
        d("shard", 0, "number", "Which shard (hash tag {orch:N}) the actors serve.", 0, limits.SHARD_MAX),
        d("shards", (), "shards", "Further shards that the gateway answers for, beside `shard`: a token leads to the shard that has it, Orch-Shard names one.", 0, limits.SHARDS_MAX),
        d("appendfsync", "always", "word", "Persistence of the private Valkey; `everysec` may lose acknowledged writes and says so.", choices=("always", "everysec", "no")),
        d("ephemeral", False, "switch", "Work with a server that keeps nothing beyond its own end (appendonly no), which is refused otherwise; the private Valkey always keeps its data."),
        d("host", "127.0.0.1", "address", "Where the gateway listens. Beyond loopback it needs tokens (auth), and TLS (tls_cert, tls_key) or plaintext."),
        d("port", 0, "port", "The gateway's port; 0 takes any free one.", 0, 65535),
        d("auth", "none", "word", "Whether callers of the gateway need a bearer token: orch token create makes one.", choices=("none", "tokens")),
        d("allowed_hosts", (), "names", "Names that a Host header may carry beside loopback and the address that was connected to, with any port.", 0, 64),
        d("tls_cert", None, "path", "Certificate chain of the gateway, PEM; with tls_key it speaks TLS."),
        d("tls_key", None, "path", "Private key of tls_cert, PEM."),
        d("plaintext", False, "switch", "Listen beyond loopback without TLS: something in front encrypts, or the network is trusted."),
        d("http_rate", 0, "requests/s", "Requests a second that one token, or one address without a token, may make of a gateway; 0 is no limit.", 0, 1_000_000),
        d("http_burst", 0, "requests", "How many of them may come at once; 0 is as many as a second's.", 0, 1_000_000),
        d("connections_max", 4_096, "connections", "Open connections of a gateway; fewer where the system gives it fewer files.", 1, 1_000_000),
        d("caller_connections_max", 2_048, "connections", "Open connections from one address.", 1, 1_000_000),
        d("streams_max", 2_048, "streams", "Open event streams of a gateway.", 0, 1_000_000),
        d("caller_streams_max", 1_024, "streams", "Open event streams of one token, or of one address without a token.", 0, 1_000_000),
        d("metrics_host", "127.0.0.1", "address", "Where an actor serves its metrics and health. Whoever reaches it may read the figures; containers set 0.0.0.0."),
        d("metrics_port", 0, "port", "An actor's metrics and health port; 0 takes any free one.", 0, 65535),
        d("pools", ("default",), "names", "Pools that exist even while no runner serves them.", 1, limits.POOLS_MAX),
        d("pool", "default", "name", "The pool a runner serves."),
        d("capabilities", (), "names", "What the runners of this pool can do, for placement: a pool has what each of its runners has.", 0, limits.CAPABILITIES_MAX),
        d("runners", 1, "processes", "How many runner processes `orch up` starts for each pool.", 1, 64),
        d("slots", 16, "jobs", "How many jobs one runner runs at once.", 1, 1000),
        d("python_workers", 2, "processes", "Worker processes a runner keeps for python callables.", 1, 64),
        d("queue_jobs_max", 1_000_000, "jobs", "Waiting jobs of one pool and class; at the bound full_policy decides. 0 admits nothing.", 0, 100_000_000),
        d("pool_jobs_max", 0, "jobs", "Waiting jobs of one pool, all classes together; 0 is no bound.", 0, 100_000_000),
        d("tenant_jobs_max", 0, "jobs", "Waiting jobs of one tenant, scheduled ones too; 0 is no bound.", 0, 100_000_000),
        d("key_jobs_max", 0, "jobs", "Jobs of one tenant with the same concurrency_key that have not ended; 0 is no bound. An operator may set another for a key.", 0, 100_000_000),
        d("full_policy", "reject", "word", "Who gives way at a bound: the newcomer, the oldest of the lowest class, or the youngest of a lower class.", choices=FULL_POLICIES),
        d("tenant_rate", 0, "jobs", "Submissions a second of one tenant; 0 is no limit.", 0, 1_000_000),
        d("tenant_burst", 0, "jobs", "Submissions of one tenant at once, when it rested; 0 is one second's worth of tenant_rate.", 0, 1_000_000),
        d("classes", ("interactive:8", "batch:1"), "name:weight", "Priority classes, highest first, with their weights.", 1, limits.PRIORITY_CLASSES_MAX),
        d("default_class", "batch", "name", "The class of a job that names none."),
        d("scheduling", "fair", "word", "How classes share a pool: by weight, or strictly by order.", choices=("fair", "strict")),
        d("aging_ms", 60_000, "ms", "Waiting this long is worth one turn of a class: how fast the low class catches up.", 1_000, limits.DAY_MS),
        d("tenant_running_max", 0, "jobs", "How many jobs of one tenant may be ready or running; 0 is no limit. An operator may set another for a tenant.", 0, 1_000_000),
        d("key_running_max", 1, "jobs", "How many jobs with the same concurrency_key may be ready or running. An operator may set another for a key.", 1, 1_000_000),
        d("session_policy", "enqueue", "word", "How a new job meets the live jobs of its session, when its spec does not say.", choices=("reject", "enqueue", "interrupt", "replace")),
        d("lease_ms", 15_000, "ms", "How long a silent runner keeps its jobs.", limits.LEASE_MS_MIN, limits.HOUR_MS),
        d("suspend_max_ms", 600_000, "ms", "How long a stopped agent waits for its lease to be confirmed before it is killed.", 0, limits.DAY_MS),
        d("grace_ms", 5_000, "ms", "Between TERM and KILL of an agent, and for a runner's exit.", 0, limits.HOUR_MS),
        d("reload_drain_ms", 10 * limits.MINUTE_MS, "ms", "How long a reload waits until the running jobs have ended; after that it is taken back.", 0, 7 * limits.DAY_MS),
        d("attempts_max", 3, "attempts", "Attempts of a job whose spec says nothing.", 1, limits.ATTEMPTS_MAX),
        d("backoff_ms", 2_000, "ms", "First retry's delay; doubles with each further failure, full jitter.", 0, limits.DAY_MS),
        d("backoff_ms_max", 60_000, "ms", "Longest delay between two attempts.", 0, limits.DAY_MS),
        d("crashes_max", limits.CRASHES_MAX, "crashes", "A job that lost this many runners becomes a dead letter.", 1, 100),
        d("question_ttl_ms", 7 * limits.DAY_MS, "ms", "How long a question waits for its answer.", 1_000, 366 * limits.DAY_MS),
        d("retention_ms", 3 * limits.DAY_MS, "ms", "How long a finished job's record is kept.", limits.MINUTE_MS, 366 * limits.DAY_MS),
        d("library_keep_ms", 10 * limits.MINUTE_MS, "ms", "How long a function library that no process of Orch uses stays on the server.", 1_000, 366 * limits.DAY_MS),
        d("http_hosts_allowed", ("*",), "hosts", "Hosts that http jobs may call: names with `*`, addresses, networks. `*` alone allows all, private addresses too.", 1, limits.HTTP_NAMES_MAX),
        d("http_env_allowed", (), "variables", "Variables of a runner's environment that http jobs may send as header values.", 0, limits.HTTP_NAMES_MAX),
        d("webhook_hosts_allowed", (), "rules", "Hosts (`name`, `*.name`, address or network) that webhooks may reach though they are private, and by plain http.", 0, limits.WEBHOOK_RULES_MAX),
        d("log_level", "info", "word", "How much the actors log.", choices=("debug", "info", "warning", "error")),
    )


DEFAULTS: Final = MappingProxyType({row.key: row for row in _rows()})

RENAMED: Final[Mapping[str, str]] = MappingProxyType({})
"""Old key to its key of DEFAULTS. The old name works on, in files, environment and flags, and is warned of."""
assert not set(RENAMED) & set(DEFAULTS), "an old name is not given to another setting"
assert set(RENAMED.values()) <= set(DEFAULTS), "an old name leads to a setting that exists"

LOCATIONS: Final = MappingProxyType(
    {
        "ORCH_HOME": "Where `orch up` keeps its data, sockets and endpoint.json; default $XDG_STATE_HOME/orch or ~/.local/state/orch.",
        "ORCH_URL": "Address of the gateway; default: the url in the home's endpoint.json.",
        "ORCH_TOKEN": "Bearer token sent to the gateway.",
        "ORCH_CONFIG": "Project file; default ./orch.toml.",
    }
)
"""Environment names that say where things are; no file can set them."""

FOREIGN: Final = MappingProxyType(
    {
        "XDG_STATE_HOME": "Where the home is, without `ORCH_HOME`.",
        "XDG_RUNTIME_DIR": "Where the private server's socket is when the home's path is too long for one: in a directory there that is yours alone.",
        "PATH": "Where programs are found; agents get it.",
        "HOME": "Agents get it; git in `orch demo` too.",
        "LANG": "Agents get it.",
        "LD_LIBRARY_PATH": "Guards get it, so that their Python finds its libraries; agents do not.",
        "PYTHONPATH": "Actors get it, with the source tree where Orch is not installed; agents do not.",
        "TRACEPARENT": "The trace that a submission by `orch` belongs to.",
        "NO_COLOR": "Set: no colours on the terminal.",
        "TERM": "`dumb`: no colours on the terminal.",
    }
)
"""Names of others that Orch reads, beside OpenTelemetry's (docs/traces.md). None of them weakens a check."""
