"""What a delivery says, and what is remembered of a try. Times as text are the shell's."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.limits import INLINE_BYTES_MAX
from contracts.states import STATE_CODES, State
from orch.core.ledger import parse_entry
from orch.core.webhooks import Answered, Hook, Post, delivery_id, fields_of_ending

ERROR_CHARS_MAX = 200
_STATES = {code: state for state, code in STATE_CODES.items()}


def message_id(hook: Hook, post: Post) -> str:
    """The header webhook-id."""
    return delivery_id(f"{hook.tenant}:{hook.webhook_id}", post.event.member)


def body_of(hook: Hook, post: Post, moment: str) -> bytes:
    """The body, the same at every try; `moment` is the event's time in ISO 8601."""
    kept = post.about.get("body")
    if isinstance(kept, str):
        return kept.encode()
    data = _test_data(hook) if post.event.is_test else _job_data(hook, post)
    return orjson.dumps({"type": post.event.type, "timestamp": moment, "data": data})


def _test_data(hook: Hook) -> dict[str, Any]:
    return {"webhook_id": hook.webhook_id, "tenant": hook.tenant, "name": hook.name}


def _job_data(hook: Hook, post: Post) -> dict[str, Any]:
    event = post.event
    state = _STATES[event.member[0]]
    data: dict[str, Any] = {
        "job_id": event.job_id,
        "name": None,
        "state": state.value,
        "tenant": hook.tenant,
        "pool": None,
        "outcome": None,
        "reason": None,
        "attempt": None,
        "finished_at_ms": None if state is State.BLOCKED else event.at_ms,
    }
    # The record of a job is gone when retention was shorter than the wait, and its id may be another's now.
    if not post.entry.startswith(f"{event.at_ms} "):
        return data
    entry = parse_entry(event.seq, post.entry)
    outcome, reason = fields_of_ending(state, entry.payload)
    data |= {"name": post.name, "pool": post.pool, "attempt": entry.attempt}
    data |= {"outcome": outcome, "reason": reason}
    return data | _result(hook, post, state)


def _result(hook: Hook, post: Post, state: State) -> dict[str, Any]:
    """Only where the webhook asked for it, and never beyond what stands in the job's record itself."""
    if state is not State.COMPLETED or not post.result:
        return {}
    value = orjson.loads(post.result)
    if isinstance(value, dict) and value.keys() == {"$blob"}:
        return {"result_ref": value["$blob"]}
    if hook.with_result and len(post.result.encode()) <= INLINE_BYTES_MAX:
        return {"result": value}
    return {}


def about_try(
    hook: Hook, post: Post, answered: Answered, *, at_ms: int, body: bytes, keep_body: bool
) -> dict[str, Any]:
    """What is remembered of a try; the body only where it is sent again."""
    return {
        "id": message_id(hook, post),
        "member": post.event.member,
        "tries": post.tries + 1,
        "at_ms": at_ms,
        "status": answered.status,
        "error": answered.error and answered.error[:ERROR_CHARS_MAX],
        **({"body": body.decode()} if keep_body else {}),
    }
