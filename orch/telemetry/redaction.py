"""What must not stand in a log line is struck out of it, by value where it is known and by shape where not.

The last net, not the first: what is written names ids and codes, never payloads. A foreign error may quote
what it choked on, so of those only the kind and the place are told.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import unquote

from contracts.errors import OrchError
from orch.addresses import split_url

BLOT: Final = "***"
_CHARS_MIN: Final = 6
"""A shorter value would be struck out of ordinary words too."""
_SECRET_NAME: Final = re.compile(
    r"authorization|cookie|passw|secret|api.?key|credential|(^|_)tokens?$|(^|_)headers$",
    re.IGNORECASE,
)
_SHAPES: Final = (
    (re.compile(r"(://[^\s/:@'\"]*):[^\s/@'\"]+@"), rf"\1:{BLOT}@"),
    (re.compile(r"(\borch_[0-9a-z]{10}_)[0-9a-z]{52}_[0-9a-f]{8}"), rf"\1{BLOT}"),
    (re.compile(r"(\borcha_[A-Za-z0-9._-]{1,64}_)[0-9a-f]{64}"), rf"\1{BLOT}"),
    (re.compile(r"\b(Bearer|Basic)\s+[\x21-\x7e]+", re.IGNORECASE), rf"\1 {BLOT}"),
    (
        re.compile(
            r"([?&][\w.-]*(?:token|key|secret|passw\w*|sig\w*|auth\w*)=)[^\s&'\"]+", re.IGNORECASE
        ),
        rf"\1{BLOT}",
    ),
)


def secrets_in(
    environ: Mapping[str, str], *more: str, urls: Iterable[str | None] = ()
) -> frozenset[str]:
    """Values of this process that nobody may read: of variables whose names say so, of OTLP's headers, the
    passwords of these URLs, and `more`."""
    found = {value for name, value in environ.items() if value and _SECRET_NAME.search(name)}
    for name, value in environ.items():
        if name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("_HEADERS"):
            found |= {unquote(pair.partition("=")[2]).strip() for pair in value.split(",")}
        if name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("ENDPOINT"):
            found.add(_password_of(value))
    found |= {_password_of(url) for url in urls if url}
    words = {word for value in (*found, *more) for word in (value, *value.split())}
    return frozenset(word for word in words if len(word) >= _CHARS_MIN)


def _password_of(url: str) -> str:
    try:
        return unquote(split_url(url).password or "")
    except ValueError:
        return ""


class Redactor:
    """A step of structlog before the line is rendered."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The line without secrets."""
        for name, value in event.items():
            event[name] = BLOT if self._is_secret(name, value) else self.struck(value)
        return event

    def struck(self, value: Any) -> Any:
        """A value of a line: texts are struck, also those inside."""
        match value:
            case str():
                return self.text(value)
            case list() | tuple():
                return [self.struck(one) for one in value]
            case Mapping():
                return {
                    str(name): BLOT if self._is_secret(str(name), one) else self.struck(one)
                    for name, one in value.items()
                }
            case None | bool() | int() | float():
                return value
            case _:
                return self.text(str(value))

    def text(self, text: str) -> str:
        """A text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, BLOT)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    def _is_secret(self, name: str, value: Any) -> bool:
        return isinstance(value, str) and _SECRET_NAME.search(name) is not None


def told(error: BaseException) -> str:
    """An error as a log line may tell it: ours in words, of a foreign one the kind alone."""
    if isinstance(error, OrchError):
        return f"{error.code}: {error.message}"
    return type(error).__name__


def tell_exceptions(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A step of structlog: `exc_info` becomes `exception`, the places and kinds of what was raised."""
    given = event.pop("exc_info", None)
    if isinstance(given, BaseException):
        event["exception"] = _story(given)
    elif isinstance(given, tuple) and given[1] is not None:
        event["exception"] = _story(given[1])
    return event


def _story(error: BaseException) -> str:
    lines, seen = list[str](), set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        lines += [told(cause), *_places(cause.__traceback__)]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n".join(lines)


def _places(at: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(at)
    return [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames[-20:]]
