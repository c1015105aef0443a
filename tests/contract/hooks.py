"""What the property-based client is told beyond the document: which valid jobs are harmless to run.

Loaded by schemathesis in a process of its own. A body that is a sound spec becomes one that any stack can
run; a broken one stays as broken as it was drawn. SEED_JOB and SEED_SHA256 name a file that is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import schemathesis
from pydantic import ValidationError

from contracts import limits
from contracts.control import CommandRequest
from contracts.errors import OrchError
from contracts.ids import is_id
from contracts.schedules import OF_ONE_JOB
from contracts.spec import parse_spec

SAID_IN_WORDS = (
    "two steps have the same id",
    "options belong to kind 'choose'",
    "pool and placement exclude each other",
    "it says how the job meets others of its session",
    "mode 'pin' names",
    "mode 'prefer' names",
    "must be a URL",
    "must hold no user and no password",
    "must have no fragment",
    "json and body are two bodies",
    "a GET carries no body",
    "result points into a JSON answer",
    "two headers have the same name",
    "is set by Orch",
)
"""Rules that a schema cannot say well; it says them in words. A new one belongs here, if it must be."""
HARMLESS = {"name": "command", "config": {"argv": ["echo", "from the contract"]}}
COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "drain": {"target": "runner:nobody", "args": {"deadline_ms": 1}},
    "undrain": {"target": "runner:nobody", "args": {}},
    "pause": {"target": "tenant:nobody", "args": {"what": "intake"}},
    "resume": {"target": "tenant:nobody", "args": {}},
    "cancel": {"target": "tenant:nobody", "args": {"dry_run": True}},
    "set-limit": {"target": "tenant:nobody", "args": {"limit": "weight", "value": 2}},
    "reload": {"target": "pool:nobody", "args": {}},
}
"""Every command, to those who are not there: a drawn one would drain the stack or end its jobs."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FREE = ("placement", "pool", "priority", "deadline_ms", "not_before_ms")


def _carried(value: Any) -> Any:
    """The same value with numbers that Orch carries: JSON Schema counts 1.0 among the integers and knows no
    largest one; Orch does not, and refuses in a spec what a double cannot hold exactly (RFC 8785)."""
    if isinstance(value, dict):
        return {key: _carried(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_carried(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(1 - 2**53, min(2**53 - 1, value))
    return value


def _refusal(spec: object) -> str | None:
    try:
        parse_spec(spec)
    except OrchError as error:
        return error.message
    return None


def _tame(spec: object) -> None:
    if not isinstance(spec, dict):
        return
    refusal = _refusal(spec)
    if refusal is None:
        spec["adapter"] = HARMLESS
        for key in _FREE:
            spec.pop(key, None)
    elif any(rule in refusal for rule in SAID_IN_WORDS):
        spec.clear()
        spec.update(name="it broke a rule that is said in words", adapter=HARMLESS)


def _tame_schedule(body: dict[str, Any], schedule_id: object) -> None:
    """What only a calendar can judge, and what a template leaves to its jobs."""
    template = body["spec"]
    _tame(template)
    if template.get("adapter") == HARMLESS:
        for key in OF_ONE_JOB:
            template.pop(key, None)
    if isinstance(body.get("cron"), str) and 0 < len(body["cron"]) <= limits.CRON_CHARS_MAX:
        body["cron"] = "@yearly"
    zone = body.get("time_zone")
    if isinstance(zone, str) and 0 < len(zone) <= limits.TIME_ZONE_CHARS_MAX:
        body["time_zone"] = "UTC"
    for bound in ("start_at_ms", "end_at_ms"):
        if isinstance(body.get(bound), int) and 0 <= body[bound] <= 2**48:
            body[bound] = None
    named = body.get("schedule_id")
    if isinstance(named, str) and is_id(named) and is_id(str(schedule_id)):
        body["schedule_id"] = schedule_id  # the path says it too


def _tame_command(body: dict[str, Any]) -> None:
    """Which arguments a command takes depends on the command; the document leaves that to words."""
    try:
        asked = CommandRequest.model_validate(body)
    except ValidationError:
        return
    if asked.command in COMMANDS:
        body.update(COMMANDS[asked.command])


def _agree(case: Any) -> None:
    """Some things may be said in two places, and then have to be the same."""
    query, headers = case.query or {}, case.headers or {}
    if str(query.get("after", "")).isdecimal() and str(query.get("cursor", "")).isdecimal():
        query["cursor"] = query["after"]
    if isinstance(case.body, dict) and isinstance(case.body.get("idempotency_key"), str):
        headers.pop("idempotency-key", None)


def _aim(case: Any) -> None:
    """Nobody draws the digest of a file that is there."""
    if case.operation.path.endswith("/{sha256}") and _SHA256.fullmatch(
        str(case.path_parameters.get("sha256"))
    ):
        case.path_parameters.update(job_id=os.environ["SEED_JOB"], sha256=os.environ["SEED_SHA256"])


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Every request passes here on its way out."""
    if isinstance(case.body, dict):
        case.body = _carried(case.body)
    body = case.body
    _tame(body)
    if isinstance(body, dict) and isinstance(body.get("items"), list):
        for item in body["items"]:
            _tame(item)
    if isinstance(body, dict) and isinstance(body.get("spec"), dict):
        _tame_schedule(body, case.path_parameters.get("schedule_id"))
    if isinstance(body, dict) and case.operation.path == "/v1/control":
        _tame_command(body)
    _agree(case)
    _aim(case)
