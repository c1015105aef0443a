"""What does an endpoint's way of failing mean for the attempt? (FBK-1, FBK-2)

Statuses, broken connections and error objects of providers, each put into one of the outcome classes.
Pure; what is done about an outcome is fallback's.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from contracts.limits import DEADLINE_AHEAD_MS_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Ending

MESSAGE_CHARS: Final = 300


class AnswerFault(Exception):
    """The answer ends the attempt, so."""

    def __init__(self, outcome: Outcome, reason: ReasonCode, message: str) -> None:
        super().__init__(message)
        self.ending = Ending(outcome, reason, message)


def of_status(status: int, headers: Mapping[str, str], said: str, now_ms: int) -> Ending:
    """The ending for a status that is no success. `said` is what the endpoint said about it, `headers` have
    lower-case names, `now_ms` is wall time."""
    message = f"status {status}" + (f": {said[:MESSAGE_CHARS]}" if said else "")
    wait_ms = retry_after_ms(headers, now_ms)
    if status == 429 or (status == 503 and wait_ms is not None):
        return Ending(Outcome.THROTTLED, ReasonCode.HTTP_STATUS, message, retry_after_ms=wait_ms)
    return Ending(_class_of(status), ReasonCode.HTTP_STATUS, message)


def _class_of(status: int) -> Outcome:
    if status in {401, 403, 407}:
        return Outcome.ENVIRONMENT
    if status == 429:
        return Outcome.THROTTLED
    if status == 408 or status >= 500:
        return Outcome.TRANSIENT
    return Outcome.LOGIC


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """What the endpoint asked us to wait: seconds, or a date, which is taken against the endpoint's own clock
    where it tells it; None when it said nothing that can be read."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value, re.ASCII):
        wait_ms = int(float(value) * 1_000)
    else:
        until_ms = _date_ms(value)
        if until_ms is None:
            return None
        theirs_ms = _date_ms(headers.get("date", ""))
        wait_ms = until_ms - (now_ms if theirs_ms is None else theirs_ms)
    return min(max(wait_ms, 0), DEADLINE_AHEAD_MS_MAX)


def _date_ms(text: str) -> int | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000)


_CLASSES: Final = {
    Outcome.THROTTLED: "rate_limit_exceeded rate_limit_error rate_limited too_many_requests "
    "requests tokens",
    Outcome.ENVIRONMENT: "authentication_error invalid_api_key permission_error permission_denied "
    "insufficient_quota billing_hard_limit_reached billing_not_active account_deactivated "
    "unauthorized forbidden",
    Outcome.TRANSIENT: "server_error api_error internal_error internal_server_error overloaded_error "
    "overloaded engine_overloaded service_unavailable timeout timeout_error",
    Outcome.LOGIC: "invalid_request_error bad_request context_length_exceeded model_not_found not_found "
    "not_found_error content_filter content_policy_violation request_too_large invalid_prompt",
}  # fmt: skip
_CLASS_OF_WORD: Final = {
    word: outcome for outcome, words in _CLASSES.items() for word in words.split()
}


def of_error_object(error: Any) -> AnswerFault:
    """The end of an answer that turned into an error: its code says more than its type, and one that nobody
    knows may be gone next time, for the request had been accepted."""
    fields = error if isinstance(error, dict) else {"message": error}
    words = [fields.get("code"), fields.get("status"), fields.get("type")]
    known = [outcome for word in words if (outcome := _class_of_word(word)) is not None]
    said = str(fields.get("message") or "")[:MESSAGE_CHARS]
    named = " ".join(str(word)[:60] for word in words if word is not None)
    message = f"the endpoint reported an error{named and f' ({named})'}: {said}"
    return AnswerFault(known[0] if known else Outcome.TRANSIENT, ReasonCode.PROVIDER, message)


def _class_of_word(word: Any) -> Outcome | None:
    if isinstance(word, str) and word.isascii() and word.isdigit() and len(word) == 3:
        word = int(word)
    if isinstance(word, int) and 400 <= word <= 599:
        return _class_of(word)
    return _CLASS_OF_WORD.get(word.lower()) if isinstance(word, str) else None


def of_broken_link(error: BaseException, *, began: bool) -> Ending:
    """The ending for a connection that could not be made, or broke; `began` once the answer had begun."""
    text = f"{type(error).__name__}: {error}"[:MESSAGE_CHARS]
    if began:
        return Ending(Outcome.TRANSIENT, ReasonCode.ANSWER_CUT, f"the answer was cut off: {text}")
    if _is_tls(error):
        return Ending(Outcome.ENVIRONMENT, ReasonCode.TLS, f"no trusted connection: {text}")
    return Ending(Outcome.TRANSIENT, ReasonCode.CONNECTION, text)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
