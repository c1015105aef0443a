"""Which value every setting has, and where that value came from.

Precedence: flag > environment (ORCH_<KEY>) > project file (--config, ORCH_CONFIG, else ./orch.toml) >
<home>/orch.toml > the default of `contracts.defaults`. Nothing is guessed: an unknown key, a wrong type
or a value out of bounds is refused with key, value, bound and place. What the values do is for the actors;
`orch --help` imports this module, so it stays on the standard library.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

from contracts import limits
from contracts.defaults import DEFAULTS, LOCATIONS, Default
from contracts.errors import ErrorCode, Refused
from contracts.ids import is_host_pattern, is_id, is_variable
from orch.addresses import address_of
from orch.core.targets import is_rule

Value: TypeAlias = int | float | str | bool | tuple[str, ...] | None
"""What a setting can be."""

Rows: TypeAlias = dict[str, tuple[Value, str]]
"""Key to value and origin: one layer of the precedence."""

PROJECT_FILE: Final = "orch.toml"
CONFIG_BYTES_MAX: Final = limits.MIB
REDIS_SCHEMES: Final = (
    "redis", "rediss", "unix",
    "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip

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

_NO_URL: Final = "(not a URL)"

_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")
"""Kubernetes sets ORCH_PORT=tcp://10.0.0.1:80 beside a Service named `orch`; that is no port of ours."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, one attribute per key of `contracts.defaults.DEFAULTS`, within their bounds."""

    redis_url: str | None = field(repr=False)
    shard: int
    appendfsync: str
    host: str
    port: int
    metrics_port: int
    pools: tuple[str, ...]
    pool: str
    capabilities: tuple[str, ...]
    runners: int
    slots: int
    python_workers: int
    queue_jobs_max: int
    classes: tuple[str, ...]
    default_class: str
    scheduling: str
    aging_ms: int
    lease_ms: int
    suspend_max_ms: int
    grace_ms: int
    attempts_max: int
    backoff_ms: int
    backoff_ms_max: int
    crashes_max: int
    question_ttl_ms: int
    retention_ms: int
    http_hosts_allowed: tuple[str, ...]
    http_env_allowed: tuple[str, ...]
    webhook_hosts_allowed: tuple[str, ...]
    log_level: str
    origins: Mapping[str, str] = field(repr=False, compare=False)

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
) -> Settings:
    """The settings in force. `flags` may hold typed values or the words of a command line.

    Raises:
        Refused: INVALID_CONFIG; details names key, value, bound and origin.
    """
    env = os.environ if environ is None else environ
    in_home = home_path(home, env) / PROJECT_FILE
    return _settings(
        _from_file(in_home if in_home.is_file() else None),
        _from_file(config_path(config, env)),
        _from_environment(env),
        _from_flags(flags or {}),
    )


def settings_of(values: Mapping[str, object]) -> Settings:
    """Settings from these values alone, without files or environment; the rest are defaults.

    Raises:
        Refused: INVALID_CONFIG, as `load_settings`.
    """
    return _settings(_from_flags(values))


def without_password(url: str) -> str:
    """A URL as it may be printed or logged."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _NO_URL
    query = re.sub(r"((?:^|&)sentinel_password=)[^&]*", r"\1***", parts.query)
    if parts.password is None:
        return urlunsplit(parts._replace(query=query)) if query != parts.query else url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}", query=query))


# ---------------------------------------------------------------- layers


def _settings(*layers: Rows) -> Settings:
    rows: Rows = {key: (default.value, "default") for key, default in DEFAULTS.items()}
    for layer in layers:
        rows.update(layer)
    settings = Settings(
        **cast(dict[str, Any], {key: value for key, (value, _) in rows.items()}),
        origins=MappingProxyType({key: origin for key, (_, origin) in rows.items()}),
    )
    _check_relations(settings)
    return settings


def _from_file(path: Path | None) -> Rows:
    if path is None:
        return {}
    origin = str(path)
    document = _toml(path)
    return {key: (_checked(key, value, origin), origin) for key, value in document.items()}


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


def _from_environment(env: Mapping[str, str]) -> Rows:
    rows: Rows = {}
    for name in sorted(env):
        if not name.startswith("ORCH_") or name in LOCATIONS:
            continue
        text = env[name]
        if name in _AGENT_NAMES or _NOT_OURS.match(name) or _SERVICE_LINK.match(text):
            continue
        if text == "":  # compose files and CI pass names without values: not set
            continue
        key = name.removeprefix("ORCH_").lower()
        origin = f"environment {name}"
        rows[key] = (_checked(key, _from_words(key, text, origin), origin), origin)
    return rows


def _from_flags(values: Mapping[str, object]) -> Rows:
    rows: Rows = {}
    for key, given in values.items():
        if given is None:
            continue
        origin = f"flag --{key.replace('_', '-')}"
        value = _from_words(key, given, origin) if isinstance(given, str) else given
        rows[key] = (_checked(key, value, origin), origin)
    return rows


# ---------------------------------------------------------------- one value


def _row(key: str, value: object, origin: str) -> Default:
    row = DEFAULTS.get(key)
    if row is not None:
        return row
    close = difflib.get_close_matches(key, DEFAULTS, n=1)
    known = f"a known key; did you mean {close[0]}?" if close else "a known key"
    raise _refused(key, value, known, origin)


def _from_words(key: str, text: str, origin: str) -> object:
    """The typed value that a word of the command line or the environment stands for."""
    row = _row(key, text, origin)
    match row.value:
        case bool():
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        case int():
            return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else text
        case tuple():
            return [word.strip() for word in text.split(",")]
        case _:
            return text


def _checked(key: str, value: object, origin: str) -> Value:
    row = _row(key, value, origin)
    match row.value:
        case bool():
            fits = isinstance(value, bool)
        case int():
            fits = type(value) is int and _within(row, value)
        case tuple():
            fits = isinstance(value, list | tuple) and _fitting_words(row, list(value))
        case _:
            fits = isinstance(value, str) and _fitting_word(row, value)
    if not fits:
        raise _refused(key, value, _bound(row), origin)
    return tuple(value) if isinstance(value, list) else cast(Value, value)


def _within(row: Default, value: int) -> bool:
    low, high = row.minimum, row.maximum
    return (low is None or value >= low) and (high is None or value <= high)


def _fitting_word(row: Default, word: str) -> bool:
    if row.choices is not None:
        return word in row.choices
    if row.unit == "name":
        return is_id(word)
    if row.unit == "url":
        return word.partition("://")[0] in REDIS_SCHEMES and _is_redis_url(word)
    return True


def _is_redis_url(word: str) -> bool:
    try:
        address_of(word)
    except ValueError:
        return False
    return without_password(word) != _NO_URL


def _fitting_words(row: Default, words: list[object]) -> bool:
    texts = [word for word in words if isinstance(word, str)]
    names = [text.partition(":")[0] for text in texts] if row.unit == "name:weight" else texts
    _, fits = _LISTS[row.unit]
    return (
        _items_min(row) <= len(words) <= _items_max(row)
        and len(texts) == len(words) == len(set(names))
        and all(fits(text) for text in texts)
    )


def _items_min(row: Default) -> int:
    return 1 if row.minimum is None else int(row.minimum)


def _items_max(row: Default) -> int:
    most = limits.PRIORITY_CLASSES_MAX if row.unit == "name:weight" else limits.POOLS_MAX
    return most if row.maximum is None else int(row.maximum)


def _is_weighted(word: str) -> bool:
    name, _, weight = word.partition(":")
    return is_id(name) and bool(re.fullmatch(r"[1-9]\d{0,3}", weight, re.ASCII))


_LISTS: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "names": ("names", is_id),
    "name:weight": ("name:weight with weights from 1 to 9999", _is_weighted),
    "variables": ("names of variables", is_variable),
    "hosts": ("host names with *, addresses or networks", is_host_pattern),
    "rules": ("names, *.names, addresses or networks", is_rule),
}
"""What the words of a list setting must be, in words and as a test."""


def _bound(row: Default) -> str:
    """What a value of this setting must be, in words."""
    if row.choices is not None:
        return "one of " + ", ".join(row.choices)
    if isinstance(row.value, bool):
        return "true or false"
    if isinstance(row.value, int):
        return f"a whole number from {_digits(row.minimum)} to {_digits(row.maximum)} ({row.unit})"
    if isinstance(row.value, tuple):
        shape, _ = _LISTS[row.unit]
        return f"a list of {_items_min(row)} to {_items_max(row)} different {shape}"
    return {
        "name": "a name ([A-Za-z0-9][A-Za-z0-9._-]{0,63})",
        "url": "a URL: redis://, rediss://, unix://, redis+sentinel://hosts/service or redis+cluster://hosts",
    }.get(row.unit, "a string")


def _digits(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:.0f}"


def _check_relations(settings: Settings) -> None:
    names = [entry.partition(":")[0] for entry in settings.classes]
    if settings.default_class not in names:
        bound = f"one of classes: {', '.join(names)}"
        raise _refused(
            "default_class", settings.default_class, bound, settings.origin("default_class")
        )
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
