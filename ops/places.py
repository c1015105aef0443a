"""What does each place that repeats a setting say of it, on which line, and is it so?

A place is a file, or what a command prints; its reader turns text into what it tells. `drift` compares that
with `contracts.defaults`: a value that was changed in one place only is a fault with file, line and both
values. Generated places are read too, so that the fault names the key and not just a stale file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML

from contracts.defaults import DEFAULTS, RENAMED, Default
from ops.configuration import BY_CHART
from orch.values import word_of

SOURCE: Final = "contracts/defaults.py"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a place says of a setting; `what` is a key of `expected`."""

    line: int
    key: str
    what: str
    value: str


Reader = Callable[[str], Iterator[Told]]

_CONTAINER: Final = "charts/orch/templates/_container.tpl"
_HELPERS: Final = "charts/orch/templates/_helpers.tpl"
_SCALING: Final = "charts/orch/templates/scaling.yaml"
_METRICS_PORT_IN: Final = [
    (file, "metrics_port")
    for file in (_HELPERS, "docker/Dockerfile", "docker/healthy", "docker/prometheus.yaml")
]

OTHERWISE: Final[Mapping[tuple[str, str], str]] = {
    # A container's network is its own; what is in front of it decides who gets in.
    ("docker/Dockerfile", "metrics_host"): "0.0.0.0",
    **dict.fromkeys(_METRICS_PORT_IN, "9464"),
    ("docker/compose.yaml", "redis_url"): "redis://valkey:6379",
    ("docker/compose.yaml", "host"): "0.0.0.0",
    ("docker/compose.yaml", "port"): "8080",
    ("docker/compose.yaml", "auth"): "tokens",
    ("docker/compose.yaml", "plaintext"): "true",
    ("docker/compose.yaml", "allowed_hosts"): "gateway",
    (_CONTAINER, "host"): "0.0.0.0",
    (_CONTAINER, "metrics_host"): "0.0.0.0",
    (_CONTAINER, "tls_cert"): "/etc/orch/tls/tls.crt",
    (_CONTAINER, "tls_key"): "/etc/orch/tls/tls.key",
    ("charts/orch/values.yaml", "port"): "8080",
    ("charts/orch/values.yaml", "auth"): "tokens",
    ("charts/orch/values.yaml", "plaintext"): "true",
}
"""Where a place sets another value than the default, on purpose: that value, and no other."""


def expected(row: Default) -> dict[str, str]:
    """Everything that a place can say of a setting."""
    return {
        "default": word_of(row.value),
        "minimum": word_of(row.minimum),
        "maximum": word_of(row.maximum),
        "choices": ",".join(row.choices or ()),
        "unit": row.unit,
        "environment": row.env,
    }


def drift(
    file: str,
    text: str,
    read: Reader,
    *,
    whole: Iterable[str] = (),
    renamed: Mapping[str, str] = RENAMED,
) -> list[str]:
    """The faults of a place; each setting of `whole` has to be in it."""
    faults, seen = [], set()
    for told in read(text):
        key = renamed.get(told.key, told.key)
        seen.add(key)
        if key not in DEFAULTS:
            faults.append(f"{file}:{told.line}: {told.key} is no setting of {SOURCE}")
            continue
        wanted, where = expected(DEFAULTS[key])[told.what], SOURCE
        if told.what == "default" and (file, key) in OTHERWISE:
            wanted, where = OTHERWISE[file, key], "ops/places.py (OTHERWISE)"
        if told.value != wanted:
            faults.append(
                f"{file}:{told.line}: the {told.what} of {told.key} is {told.value!r} here,"
                f" {wanted!r} in {where}"
            )
    return faults + [f"{file}: {key} is missing" for key in whole if key not in seen]


# ---------------------------------------------------------------- pages and plain text


def _lines(text: str, pattern: str) -> Iterator[tuple[int, re.Match[str]]]:
    compiled = re.compile(pattern)
    for number, line in enumerate(text.splitlines(), 1):
        for found in compiled.finditer(line):
            yield number, found


def page(text: str) -> Iterator[Told]:
    """The table of docs/configuration.md."""
    row = r"^\| `(\w+)` \| (?:`(.*?)`|-) \| (\S+) \| (.*?) \| `(ORCH_\w+)` \| "
    for line, found in _lines(text, row):
        key, default, unit, bounds, environment = found.groups()
        yield Told(line, key, "default", default or "")
        yield Told(line, key, "unit", unit)
        yield Told(line, key, "environment", environment)
        yield from _bounds(line, key, bounds)


def _bounds(line: int, key: str, text: str) -> Iterator[Told]:
    """`1 to 64`, `from 1 to 64`, `one of a, b` or `a or b`, within a text or alone."""
    if (span := re.search(r"(?:^|[Ff]rom |of )(\d+) to (\d+)\b", text)) is not None:
        yield Told(line, key, "minimum", span[1])
        yield Told(line, key, "maximum", span[2])
    elif (words := re.search(r"(?:\b[Oo]ne of ([a-z, -]+)|^(\S+(?: or \S+)+)$)", text)) is not None:
        choices = re.split(r", | or ", words[1] or words[2])
        yield Told(line, key, "choices", ",".join(choices))


def env_example(text: str) -> Iterator[Told]:
    """Lines like `# ORCH_LEASE_MS=15000`; names that say where things are have no default."""
    for line, found in _lines(text, r"^# ORCH_([A-Z_]+)=(.*)$"):
        key = found[1].lower()
        if key in DEFAULTS or found[2]:
            yield Told(line, key, "default", found[2])


def toml_example(text: str) -> Iterator[Told]:
    """What `orch init` writes: a comment, then `# key = value`; an example where there is no default."""
    about: list[str] = []
    for line, words in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"# (\w+) = (.*)", words)
        if found is None:
            about = [*about, words.removeprefix("# ")] if words else []
            continue
        key, value = found.groups()
        has_default = key not in DEFAULTS or DEFAULTS[key].value is not None
        plain = value.strip("[]").replace('"', "").replace(", ", ",")
        yield Told(line, key, "default", plain if has_default else "")
        yield from _bounds(line - 1, key, " ".join(about))


def help_text(text: str) -> Iterator[Told]:
    """The settings of `orch up --help`."""
    _, _, settings = text.partition("\nSettings:\n")
    before = text.count("\n", 0, len(text) - len(settings))
    entries = re.finditer(r"^  --([a-z-]+)\s(.*(?:\n {4,}\S.*)*)", settings, re.MULTILINE)
    for found in entries:
        line = before + settings.count("\n", 0, found.start()) + 1
        key, about = found[1].replace("-", "_"), " ".join(found[2].split())
        told = re.search(r"(?:Default: (\S+)|No default);", about)
        yield Told(line, key, "default", (told[1] or "") if told else "nothing")
        yield from _bounds(line, key, about.rpartition("efault")[2])


_UNITS_MS: Final = {
    "ms": 1,
    "s": 1_000,
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
}


_NUMBERS: Final = {
    word: str(n)
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}


def prose(text: str) -> Iterator[Told]:
    """Sentences that quote a default: ``default `key` of 5`` or ```key` (10 minutes)``, also in words."""
    number = rf"(\d[\d,]*|`[^`]+`|{'|'.join(_NUMBERS)})(?: (ms|s|second|minute|hour|day)s?\b)?"
    for line, found in _lines(
        text, rf"[Dd]efault `([a-z_]+)` of {number}|`([a-z_]+)` \({number}[):,]"
    ):
        key, value, unit = found.groups()[:3] if found[1] else found.groups()[3:]
        if key in DEFAULTS:
            said = _NUMBERS.get(value, value)
            plain = said.strip("`") if said[0] == "`" else said.replace(",", "")
            yield Told(line, key, "default", str(int(plain) * _UNITS_MS[unit]) if unit else plain)


# ---------------------------------------------------------------- documents


def _document(text: str) -> Any:
    """YAML or JSON whose mappings know the lines of their keys."""
    return YAML(typ="rt").load(text)


def _at(node: Any, key: str) -> int:
    return int(node.lc.value(key)[0]) + 1


_SCHEMA_WORDS: Final = {
    "minimum": "minimum", "minItems": "minimum", "maximum": "maximum", "maxItems": "maximum",
    "enum": "choices",
}  # fmt: skip


def _properties(properties: Any) -> Iterator[Told]:
    for key, schema in properties.items():
        line = _at(schema, "default") if "default" in schema else _at(properties, key)
        yield Told(line, key, "default", word_of(_plain(schema.get("default"))))
        for word, what in _SCHEMA_WORDS.items():
            if word in schema:
                yield Told(_at(schema, word), key, what, word_of(_plain(schema[word])))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def config_schema(text: str) -> Iterator[Told]:
    """contracts/schemas/v1/config.json."""
    yield from _properties(_document(text)["properties"])


def chart_schema(text: str) -> Iterator[Told]:
    """charts/orch/values.schema.json: its settings, and the values that are settings."""
    properties = _document(text)["properties"]
    yield from _properties(properties["settings"]["properties"])
    numbers = {
        "shard": properties["shard"],
        "slots": properties["runners"]["items"]["properties"]["slots"],
    }
    for key, schema in numbers.items():
        for word in ("minimum", "maximum"):
            yield Told(_at(schema, word), key, word, word_of(schema.get(word)))
    auth = properties["gateway"]["properties"]["auth"]
    yield Told(_at(auth, "enum"), "auth", "choices", word_of(_plain(auth["enum"])))


def chart_values(text: str) -> Iterator[Told]:
    """charts/orch/values.yaml, where a value is a setting."""
    values = _document(text)
    gateway, redis = values["gateway"], values["redis"]
    yield Told(_at(redis, "url"), "redis_url", "default", word_of(redis["url"]))
    yield Told(_at(values, "shard"), "shard", "default", word_of(values["shard"]))
    for name, key in (
        ("port", "port"),
        ("auth", "auth"),
        ("plaintext", "plaintext"),
        ("allowedHosts", "allowed_hosts"),
    ):
        yield Told(_at(gateway, name), key, "default", word_of(_plain(gateway[name])))
    for runner in values["runners"]:
        for key in ("pool", "slots", "capabilities"):
            yield Told(_at(runner, key), key, "default", word_of(_plain(runner[key])))
        for scaler in (runner["keda"], runner["hpa"]):
            jobs = scaler["jobsPerRunner"]
            yield Told(_at(scaler, "jobsPerRunner"), "slots", "default", word_of(jobs))
    for key, value in values["settings"].items():
        yield Told(_at(values["settings"], key), key, "default", word_of(_plain(value)))


_ASSIGNED: Final = (
    r"\bORCH_([A-Z_]+)(?:=|: |, value: )(\$\{ORCH_\w+:-[^}]*\}|\"[^\"]*\"|\{\{.*?\}\}|[^\s\"{}\\]+)"
)
_METRICS_PORT: Final = (
    r"(?:\"orch\.metricsPort\" -\}\}|^EXPOSE (?=9)|ORCH_METRICS_PORT:-|^        port: )"
    r"(\d+)"
)
_NOT_SETTINGS: Final = frozenset({"HOME", "VERSION", "URL", "TOKEN"})


def assignments(text: str) -> Iterator[Told]:
    """Variables that a Dockerfile, a compose file or a template gives a value; what a template makes of
    another value is skipped, but for its `default N`."""
    for line, found in _lines(text, r"\bdefault (\d+) \.(?:keda|hpa)\.jobsPerRunner"):
        yield Told(line, "slots", "default", found[1])
    for line, found in _lines(text, r"\bdig \"grace_ms\" (\d+)"):
        yield Told(line, "grace_ms", "default", found[1])
    for line, found in _lines(text, _METRICS_PORT):
        yield Told(line, "metrics_port", "default", found[1])
    for line, found in _lines(text, _ASSIGNED):
        name, value = found.groups()
        inner = re.fullmatch(r"\$\{ORCH_\w+:-(.*)\}", value)
        made = re.search(r"\bdefault (\S+) \.", value) if value.startswith("{{") else None
        if name in _NOT_SETTINGS or (value.startswith("{{") and made is None):
            continue
        plain = inner[1] if inner else made[1] if made else value.strip('"')
        yield Told(line, name.lower(), "default", plain)


WHOLE: Final = tuple(DEFAULTS)
IN_CHART: Final = tuple(key for key in DEFAULTS if key not in BY_CHART)
PLACES: Final[Mapping[str, tuple[Reader, tuple[str, ...]]]] = {
    "docs/configuration.md": (page, WHOLE),
    ".env.example": (env_example, WHOLE),
    "contracts/schemas/v1/config.json": (config_schema, WHOLE),
    "charts/orch/values.schema.json": (chart_schema, IN_CHART),
    "charts/orch/values.yaml": (chart_values, ()),
    **dict.fromkeys((_CONTAINER, _HELPERS, _SCALING), (assignments, ())),
    "docker/Dockerfile": (assignments, ()),
    "docker/compose.yaml": (assignments, ()),
    "docker/healthy": (assignments, ()),
    "docker/prometheus.yaml": (assignments, ()),
}
"""File to its reader and the settings that it must have; pages are read by `prose` besides."""
PRINTED: Final[Mapping[str, tuple[Reader, tuple[str, ...]]]] = {
    "orch init: orch.toml": (toml_example, WHOLE),
    "orch up --help": (help_text, WHOLE),
}
"""The same for what commands write."""
