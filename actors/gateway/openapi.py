"""What is said about the HTTP door, as OpenAPI 3.2 (API-2)?

Written from the routes, then made true where the framework guesses: it promises a 422 that we never
send, and does not know the bodies that routes read themselves nor the header on every answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from actors.gateway.models import REQUEST_MODELS
from actors.gateway.permits import RULES
from contracts.published import with_configs
from contracts.spec import SCHEMA_VERSION

VERSION: Final = "3.2.0"
"""3.1 has no itemSchema, which event streams need."""
_GUESSED: Final = ("HTTPValidationError", "ValidationError")
_CORRELATION: Final = {
    "description": "The caller's correlation id, or one made for this request.",
    "schema": {"type": "string"},
}
_WAITS: Final = {
    "Retry-After": {"description": "Whole seconds to wait.", "schema": {"type": "integer"}},
    "X-Backoff-Ms": {"description": "Milliseconds to wait.", "schema": {"type": "integer"}},
}


_CHALLENGE: Final = {"description": "Always `Bearer`.", "schema": {"type": "string"}}
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "With `auth = tokens`. One of the scopes named beside an operation is needed.",
}
_OF_STATUS: Final = {
    "401": {"WWW-Authenticate": _CHALLENGE},
    "405": {"Allow": {"schema": {"type": "string"}}},
    "416": {
        "Content-Range": {"description": "The size of the file.", "schema": {"type": "string"}}
    },
    "429": _WAITS,
    "503": _WAITS,
}


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _correct(operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    scopes = RULES[operation["operationId"]].scopes
    operation["security"] = [{"bearer": [scope]} for scope in sorted(scopes)]
    for status, response in operation["responses"].items():
        headers = response.setdefault("headers", {})
        headers["X-Correlation-Id"] = {"$ref": "#/components/headers/X-Correlation-Id"}
        headers.update(_OF_STATUS.get(status, {}))
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _link(document: dict[str, Any]) -> None:
    """A submission's answer leads to every call about its job."""
    by_id = {operation["operationId"]: operation for operation in _operations(document)}
    of_job = {
        name: {"operationId": name, "parameters": {"job_id": "$response.body#/job_id"}}
        for name, operation in by_id.items()
        if [one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"]
        == ["job_id"]
    }
    for status in ("200", "202"):
        by_id["submit_job"]["responses"][status]["links"] = of_job


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application's routes."""
    app.openapi_version = VERSION
    written: dict[str, Any] = app.openapi()
    for operation in _operations(written):
        _correct(operation)
    schemas = written["components"]["schemas"]
    for name in _GUESSED:
        schemas.pop(name, None)
    _, bodies = models_json_schema(
        [(model, "validation") for model in REQUEST_MODELS],
        ref_template="#/components/schemas/{model}",
    )
    schemas.update(bodies["$defs"])
    schemas["ScheduleSpec"]["required"].remove("schedule_id")  # over HTTP the path says it
    with_configs(schemas, "#/components/schemas/{model}")
    written["components"]["schemas"] = dict(sorted(schemas.items()))
    written["components"]["securitySchemes"] = {"bearer": _BEARER}
    written["components"]["headers"] = {"X-Correlation-Id": _CORRELATION}
    _link(written)
    written["info"]["version"] = f"v{SCHEMA_VERSION}"
    return written
