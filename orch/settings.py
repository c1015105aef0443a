"""Which value every setting has, and where that value came from.

Precedence: flag > environment (ORCH_<KEY>) > project file (--config, ORCH_CONFIG, else ./orch.toml) >
<home>/orch.toml > the default of `contracts.defaults`. An unknown key, a wrong type or a bad value is
refused with key, value, bound and place. A renamed key works under its old name; whoever loads settings tells
people what `Settings.renamed` says. `orch --help` imports this module: the standard library only.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from contracts import limits
from contracts.defaults import DEFAULTS, LOCATIONS, RENAMED, Default
from contracts.errors import ErrorCode, Refused
from orch.core.listening import listening_fault
from orch.values import bound_of, fits, typed, without_password

Value: TypeAlias = int | float | str | bool | tuple[str, ...] | None
"""What a setting can be."""

Rows: TypeAlias = dict[str, tuple[Value, str]]
"""Key to value and origin: one layer of the precedence."""

Given: TypeAlias = Mapping[str, tuple[object, str]]
"""The same before it is judged: keys as they were written."""

PROJECT_FILE: Final = "orch.toml"
CONFIG_BYTES_MAX: Final = limits.MIB
_AGENT_NAMES: Final = frozenset(
    {
        "ORCH_JOB_ID",
        "ORCH_ATTEMPT",
        "ORCH_FENCE",
        "ORCH_CLAIM",
        "ORCH_STEP_ID",
        "ORCH_STEP_KEY",
        "ORCH_ANSWER",
        "ORCH_CHECKPOINT",
        "ORCH_ARTIFACT_DIR",
    }
)
"""An agent sees these (INTERFACE); it may run `orch` itself, so they are no unknown settings."""

_NOT_OURS: Final = re.compile(
    r"ORCH_(TEST|BENCH|SIM|CHAOS)_|ORCH_([A-Z0-9_]*_)?(SERVICE_(HOST|PORT)|PORT_\d)"
)
"""Names for our own workshop, and those Kubernetes writes for a Service whose name begins with `orch`."""

_UNSHOWN: Final = "(not shown)"
"""The value of an unknown key: it may be somebody's secret under a name that looks like ours."""

_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")
"""Kubernetes sets ORCH_PORT=tcp://10.0.0.1:80 beside a Service named `orch`; that is no port of ours."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, one attribute per key of `contracts.defaults.DEFAULTS`, within their bounds."""

    redis_url: str | None = field(repr=False)
    shard: int
    shards: tuple[str, ...]
    appendfsync: str
    ephemeral: bool
    host: str
    port: int
    auth: str
    allowed_hosts: tuple[str, ...]
    tls_cert: str | None
    tls_key: str | None
    plaintext: bool
    http_rate: int
    http_burst: int
    connections_max: int
    caller_connections_max: int
    streams_max: int
    caller_streams_max: int
    metrics_host: str
    metrics_port: int
    pools: tuple[str, ...]
    pool: str
    capabilities: tuple[str, ...]
    runners: int
    slots: int
    python_workers: int
    queue_jobs_max: int
    pool_jobs_max: int
    tenant_jobs_max: int
    key_jobs_max: int
    full_policy: str
    tenant_rate: int
    tenant_burst: int
    classes: tuple[str, ...]
    default_class: str
    scheduling: str
    aging_ms: int
    tenant_running_max: int
    key_running_max: int
    session_policy: str
    lease_ms: int
    suspend_max_ms: int
    grace_ms: int
    reload_drain_ms: int
    attempts_max: int
    backoff_ms: int
    backoff_ms_max: int
    crashes_max: int
    question_ttl_ms: int
    retention_ms: int
    library_keep_ms: int
    http_hosts_allowed: tuple[str, ...]
    http_env_allowed: tuple[str, ...]
    webhook_hosts_allowed: tuple[str, ...]
    log_level: str
    origins: Mapping[str, str] = field(repr=False, compare=False)
    renamed: tuple[str, ...] = field(repr=False, compare=False)
    """A warning for each old name that was used, to be told to people once."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The priority classes without their weights, highest first."""
        return tuple(entry.partition(":")[0] for entry in self.classes)

    def origin(self, key: str) -> str:
        """Where the value came from: `flag --x`, `environment ORCH_X`, a file's path, or `default`."""
        return self.origins[key]

    def value(self, key: str) -> Value:
        """The value of a key of DEFAULTS."""
        return cast(Value, getattr(self, DEFAULTS[key].key))

    def shown(self, key: str) -> Value:
        """The value as it may be printed: a URL without its password."""
        value = self.value(key)
        return without_password(value) if isinstance(value, str) and key == "redis_url" else value


def home_path(flag: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Where `orch up` keeps its data: --home, ORCH_HOME, $XDG_STATE_HOME/orch, ~/.local/state/orch.

    Absolute; not created here.
    """
    env = os.environ if environ is None else environ
    if flag or env.get("ORCH_HOME"):
        return Path(flag or env["ORCH_HOME"]).expanduser().absolute()
    state = Path(env.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    if not state.is_absolute():  # the XDG specification: a relative path is ignored
        state = Path("~/.local/state").expanduser()
    return state / "orch"


def config_path(
    flag: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The project file: --config or ORCH_CONFIG, which must exist, else ./orch.toml if there is one.

    Raises:
        Refused: INVALID_CONFIG when the named file is not there.
    """
    env = os.environ if environ is None else environ
    named = flag or env.get("ORCH_CONFIG")
    path = Path(named or PROJECT_FILE).expanduser().absolute()
    if path.is_file():
        return path
    if not named:
        return None
    place = "flag --config" if flag else "environment ORCH_CONFIG"
    raise _refused("config", str(path), "an existing file", place)


def load_settings(
    *,
    flags: Mapping[str, object] | None = None,
    home: str | Path | None = None,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] = RENAMED,
) -> Settings:
    """The settings in force. `flags` may hold typed values or the words of a command line.

    Raises:
        Refused: INVALID_CONFIG; details names key, value, bound and origin.
    """
    env = os.environ if environ is None else environ
    in_home = home_path(home, env) / PROJECT_FILE
    layers = (
        _from_file(in_home if in_home.is_file() else None),
        _from_file(config_path(config, env)),
        _from_environment(env),
        _from_flags(flags or {}),
    )
    return _settings(*layers, renamed=renamed)


def settings_of(values: Mapping[str, object]) -> Settings:
    """Settings from these values alone, without files or environment; the rest are defaults.

    Raises:
        Refused: INVALID_CONFIG, as `load_settings`.
    """
    return _settings(_from_flags(values), renamed=RENAMED)


# ---------------------------------------------------------------- layers


def _settings(*layers: Given, renamed: Mapping[str, str]) -> Settings:
    rows: Rows = {key: (default.value, "default") for key, default in DEFAULTS.items()}
    warnings: list[str] = []
    for layer in layers:
        for key, (value, origin) in _by_new_names(layer, renamed, warnings).items():
            rows[key] = (_checked(key, value, origin), origin)
    settings = Settings(
        **cast(dict[str, Any], {key: value for key, (value, _) in rows.items()}),
        origins=MappingProxyType({key: origin for key, (_, origin) in rows.items()}),
        renamed=tuple(dict.fromkeys(warnings)),  # one file may be both project and home
    )
    _check_relations(settings)
    return settings


def _by_new_names(layer: Given, renamed: Mapping[str, str], warnings: list[str]) -> Given:
    """The layer without old names. Both names in one layer are no conflict: in a rollout, old and new
    processes read the same file or environment."""
    found = {key: given for key, given in layer.items() if key not in renamed}
    for old in sorted(layer.keys() & renamed.keys()):
        new, (value, origin) = renamed[old], layer[old]
        ignored = f", and is ignored: {new} is given too" if new in found else ""
        warnings.append(f"{old} ({origin}) is now called {new}{ignored}")
        found.setdefault(new, (value, origin))
    return found


def _from_file(path: Path | None) -> Given:
    return {} if path is None else {key: (value, str(path)) for key, value in _toml(path).items()}


def _toml(path: Path) -> dict[str, object]:
    origin = str(path)
    try:
        raw = path.read_bytes()
        if len(raw) > CONFIG_BYTES_MAX:
            raise _refused("$", f"{len(raw)} bytes", f"at most {CONFIG_BYTES_MAX} bytes", origin)
        return tomllib.loads(raw.decode())
    except OSError as error:
        raise _refused("$", error.strerror or "unreadable", "a readable file", origin) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refused("$", str(error), "a TOML document in UTF-8", origin) from None


def _from_environment(env: Mapping[str, str]) -> Given:
    rows: dict[str, tuple[object, str]] = {}
    for name in sorted(env):
        if not name.startswith("ORCH_") or name in LOCATIONS:
            continue
        text = env[name]
        if name in _AGENT_NAMES or _NOT_OURS.match(name) or _SERVICE_LINK.match(text):
            continue
        if text == "":  # compose files and CI pass names without values: not set
            continue
        rows[name.removeprefix("ORCH_").lower()] = (_Words(text), f"environment {name}")
    return rows


def _from_flags(values: Mapping[str, object]) -> Given:
    return {
        key: (
            _Words(given) if isinstance(given, str) else given,
            f"flag --{key.replace('_', '-')}",
        )
        for key, given in values.items()
        if given is not None
    }


class _Words(str):
    """Text from a command line or the environment: what it stands for depends on the key."""

    __slots__ = ()


# ---------------------------------------------------------------- one value


def _row(key: str, origin: str) -> Default:
    row = DEFAULTS.get(key)
    if row is not None:
        return row
    close = difflib.get_close_matches(key, DEFAULTS, n=1)
    known = f"a known key; did you mean {close[0]}?" if close else "a known key"
    raise _refused(key, _UNSHOWN, known, origin)


def _checked(key: str, given: object, origin: str) -> Value:
    row = _row(key, origin)
    # In a file a list may also be the words that environment and flags take: those are what pages show.
    is_words = isinstance(given, _Words) or (
        isinstance(given, str) and isinstance(row.value, tuple)
    )
    value = typed(row, str(given)) if is_words else given
    if not fits(row, value):
        raise _refused(key, value, bound_of(row), origin)
    return tuple(value) if isinstance(value, list) else cast(Value, value)


def _check_relations(settings: Settings) -> None:
    names = settings.class_names
    if settings.default_class not in names:
        bound = f"one of classes: {', '.join(names)}"
        raise _refused(
            "default_class", settings.default_class, bound, settings.origin("default_class")
        )
    fault = listening_fault(settings.host, settings)
    if fault is not None:
        key, bound = fault
        raise _refused(key, settings.value(key), bound, settings.origin(key))
    if settings.backoff_ms > settings.backoff_ms_max:
        above = f"{settings.backoff_ms_max}, from {settings.origin('backoff_ms_max')}"
        bound = f"at most backoff_ms_max ({above})"
        raise _refused("backoff_ms", settings.backoff_ms, bound, settings.origin("backoff_ms"))


def _refused(key: str, value: object, bound: str, origin: str) -> Refused:
    shown = without_password(value) if key == "redis_url" and isinstance(value, str) else value
    plain = shown if isinstance(shown, str) else repr(shown)
    text = plain if len(plain) <= 200 else plain[:200] + "…"
    return Refused(
        ErrorCode.INVALID_CONFIG,
        f"{key} = {text!r} ({origin}): must be {bound}",
        details={"key": key, "value": text, "bound": bound, "origin": origin},
    )
