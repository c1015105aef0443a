"""What a raw request asks for: one stream entry as a submission, or the refusal it gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from contracts.errors import ErrorCode, Refused
from contracts.ids import is_id
from contracts.limits import SPEC_BYTES_MAX
from orch.core.asks import Ask
from orch.core.canonical import canonical
from orch.core.derived import job_id_of_entry

VERSION = "1"
TRACEPARENT = "traceparent"
"""An optional field: the producer's span, as W3C writes it. One that is not valid is not there."""


def request_id_of(fields: Mapping[str, str]) -> str:
    """Where the producer looks for its answer; empty when it named no legal place."""
    request_id = fields.get("request_id", "")
    return request_id if is_id(request_id) else ""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"{double!a}: duplicate key",
            details={"path": ascii(double)[1:-1][:200]},
        )
    return document


def document_of(text: str) -> object:
    """The parsed spec.

    Raises:
        Refused: INVALID_SPEC for what is no JSON, has a key twice or no canonical form (bytes that are no
            UTF-8 arrive as lone surrogates); PAYLOAD_TOO_LARGE.
    """
    if len(text) > SPEC_BYTES_MAX:
        raise Refused(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"a spec has at most {SPEC_BYTES_MAX} bytes",
            details={"bytes_max": SPEC_BYTES_MAX},
        )
    try:
        document: object = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise Refused(
            ErrorCode.INVALID_SPEC, f"$: not valid JSON: {error}", details={"path": "$"}
        ) from error
    canonical(document)
    return document


def ask_of(entry_id: str, fields: Mapping[str, str], *, incarnation: int) -> Ask:
    """The submission an entry stands for.

    Raises:
        Refused: the entry is of another version, or holds no valid document.
    """
    if fields.get("v") != VERSION:
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            f"v: {fields.get('v', '')[:40]!r} is no version of a request; there is 1",
            details={"path": "v"},
        )
    return Ask(
        document=document_of(fields.get("spec", "")),
        entry_id=entry_id,
        request_id=request_id_of(fields),
        job_id=job_id_of_entry(incarnation, entry_id),
    )
