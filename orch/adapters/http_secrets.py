"""Header values that must not be told: taken from the runner's environment, blotted out where they come back.

A spec names a variable, the operator allows it, and only the request carries its value. An endpoint that
echoes what it was sent would write it into output and results; so it is struck out of every answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from contracts.limits import HTTP_SECRET_CHARS_MIN
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_outcomes import AnswerFault

BLOT: Final = b"***"
_CAREFULLY: Final = "<>&+"
"""What some writers of JSON escape though they need not."""
_SENDABLE: Final = re.compile(r"[\t\x20-\x7e]+")


def header_value(header: str, variable: str, allowed: Mapping[str, str]) -> str:
    """What to send. For Authorization a value without a scheme is a bearer token.

    Raises:
        AnswerFault: the variable is not allowed, not set, or cannot be sent. Its value is not told.
    """
    value = allowed.get(variable, "").strip()
    if not value:
        message = f"{variable} is not set on this runner, or not among its http_env_allowed"
        raise AnswerFault(Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG, message)
    if _SENDABLE.fullmatch(value) is None:
        message = f"{variable} holds characters that no header may carry"
        raise AnswerFault(Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG, message)
    if header.lower() == "authorization" and " " not in value:
        return f"Bearer {value}"
    return value


def secret_parts(values: Iterable[str]) -> tuple[bytes, ...]:
    """What to strike out: each word of those values that is long enough to be no ordinary one, as it stands
    and as JSON may write it."""
    words = {word for value in values for word in (value, *value.split())}
    forms = {form for word in words if len(word) >= HTTP_SECRET_CHARS_MIN for form in _forms(word)}
    return tuple(form.encode() for form in sorted(forms, key=len, reverse=True))


def _forms(word: str) -> Iterable[str]:
    plain = json.dumps(word)[1:-1]
    careful = "".join(f"\\u{ord(c):04x}" if c in _CAREFULLY else c for c in plain)
    return word, plain, plain.replace("/", "\\/"), careful, careful.replace("\\u002b", "\\u002B")


class Blotter:
    """Strikes secrets out of bytes on their way, also those that two chunks share."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be told by now; what may be the beginning of a secret waits for more."""
        if not self._secrets:
            return data
        data = self._struck(self._held + data)
        kept = max(_overlap(data, secret) for secret in self._secrets)
        cut = len(data) - kept
        self._held = data[cut:]
        return data[:cut]

    def rest(self) -> bytes:
        """What waited, at the end."""
        held, self._held = self._held, b""
        return held

    def _struck(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret, BLOT)
        return data


def _overlap(data: bytes, secret: bytes) -> int:
    """How many bytes at the end of `data` may begin `secret`."""
    for size in range(min(len(secret) - 1, len(data)), 0, -1):
        if secret.startswith(data[-size:]):
            return size
    return 0
