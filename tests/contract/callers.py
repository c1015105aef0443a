"""What the property-based client is told when the gateway asks for tokens: who calls, and which ids it names.

Loaded by schemathesis in a process of its own, after the rules of `hooks.py`. CALLERS is JSON: `tokens`, a
token for each operation by its id (absent: none is shown), `ids`, values that take the place of drawn ones in
a path, and `tenant`, the caller's.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import Any, Final

import schemathesis

from contracts.ids import is_id
from tests.contract.hooks import before_call

_CALLERS: Final = json.loads(os.environ["CALLERS"])
_TENANTS: Final = itertools.cycle((_CALLERS["tenant"], None))
__all__ = ["before_call", "shown"]


def _as_own(holder: Any) -> None:
    """Every other tenant that was drawn becomes the caller's own; to name another is refused."""
    named = holder.get("tenant") if isinstance(holder, dict) else None
    if isinstance(named, str) and is_id(named):
        holder["tenant"] = next(_TENANTS) or named


@schemathesis.hook("before_call")
def shown(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Every request passes here on its way out."""
    token = _CALLERS["tokens"].get(case.operation.definition.raw["operationId"])
    case.headers = {**(case.headers or {})}
    if token is not None:
        case.headers["Authorization"] = f"Bearer {token}"
    for name in (case.path_parameters or {}).keys() & _CALLERS["ids"].keys():
        case.path_parameters[name] = _CALLERS["ids"][name]
    _as_own(case.query)
    if isinstance(case.body, dict):
        for holder in (case.body, case.body.get("spec"), case.body.get("filter")):
            _as_own(holder)
