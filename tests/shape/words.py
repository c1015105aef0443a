"""Every word that a page may name in code style, from the modules that define them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from contracts import defaults, errors, events, limits, metrics, outcomes, record, spec, states
from contracts.errors import ErrorCode
from contracts.overrides import LIMITS
from orch.adapters.http_openai import TOKENS_IN, TOKENS_OUT
from orch.store.keys import OWNERS, Keys
from orch.store.library import library
from orch.telemetry import conventions, subject
from tests.shape.pages import ROOT


def _strings(document: Any) -> Iterator[str]:
    """All keys and all words of a schema."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            yield from _strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from _strings(value)
    elif isinstance(document, str):
        yield document


@cache
def vocabulary() -> frozenset[str]:
    """Every lower-case word with an underscore that may stand in code style."""
    contracts = [ROOT / "contracts/openapi.json", *(ROOT / "contracts/schemas/v1").glob("*.json")]
    words = {word for path in contracts for word in _strings(json.loads(path.read_bytes()))}
    for entry in events.CATALOGUE.values():
        words |= {entry.type.value, *entry.fields}
    for kind in (
        states.State, states.Event, states.Refusal, states.BlockReason, outcomes.Outcome,
        outcomes.ReasonCode, events.Frame,
    ):  # fmt: skip
        words |= {member.value for member in kind}
    words |= set(defaults.DEFAULTS) | set(vars(Keys)) | set(OWNERS) | set(library().verbs)
    words |= set(metrics.CATALOGUE) | set(metrics.CYCLES)
    words |= {"emitted_by", "series_max", "used_by", "why_unused"}
    words |= {*TOKENS_IN, *TOKENS_OUT}
    written = {
        "finish_reason",
        "redis_url",
        "started_at_ms",
        "from_seq",
        "to_seq",
        "from_i",
        "to_i",
    }
    written |= {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "sentinel_password"}
    written |= set(LIMITS) | {"force_stopped", "duration_ms", "rolled_back"}
    words |= {word for name in attributes() for word in name.split(".")}
    written |= {subject.JOB_ID, subject.TRACE_ID, subject.CORRELATION_ID}
    words |= log_names()
    written |= {"aof_rewrite_in_progress", "master_link_status"}  # of a server's INFO
    written |= {"traces_not_exported", "spans_not_exported"}
    return frozenset(words | written)


@cache
def words_of_bench() -> frozenset[str]:
    """What the page of the comparison may name besides: anything that its programs do."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "bench").rglob("*.py"))
    return frozenset(word for text in sources for word in re.findall(r"\w+", text))


@cache
def log_names() -> frozenset[str]:
    """What log lines of the actors are called: the first word of each call of a logger."""
    sources = (path for folder in ("actors", "orch") for path in (ROOT / folder).rglob("*.py"))
    call = re.compile(r"\blog\.(?:debug|info|warning|error)\(\s*\"([a-z_]+)\"")
    return frozenset(
        name for path in sources for name in call.findall(path.read_text(encoding="utf-8"))
    )


def attributes() -> frozenset[str]:
    """Names of attributes of spans; the other constants of that module are values."""
    found = {value for name, value in vars(conventions).items() if name.isupper()}
    shape = re.compile(r"[a-z_]+\.[a-z_.]+")
    return frozenset(
        value for value in found if isinstance(value, str) and shape.fullmatch(value)
    ) | {conventions.AGENT_INVOKED}


@cache
def capitals() -> frozenset[str]:
    modules = (defaults, errors, events, limits, outcomes, record, spec, states)
    names = {name for module in modules for name in vars(module)}
    return frozenset(names | {code.value for code in ErrorCode} | conventions.VARIABLES)
