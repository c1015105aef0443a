"""Is this body one JSON document, and one that every other part of Orch can carry?

Refused: duplicate keys (two readers would see two documents), numbers that JSON readers cannot hold,
lone surrogates, nesting without end. What the document must say is judged elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, TypeVar

import anyio
import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from contracts import limits
from contracts.errors import ErrorCode, Refused

Model = TypeVar("Model", bound=BaseModel)
_INT_DIGITS_MAX: Final = 20
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
"""Perhaps more than 64 bits, which orjson takes for a float."""


def _invalid(message: str, **details: object) -> Refused:
    return Refused(ErrorCode.INVALID_REQUEST, message, details=details or None)


class _Objects:
    """Objects as they are read: no key twice in one, and not too many keys in all."""

    def __init__(self) -> None:
        self._left = limits.JSON_KEYS_MAX

    def made_of(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """One object."""
        self._left -= len(pairs)
        if self._left < 0:
            raise _invalid("the body has too many keys", keys_max=limits.JSON_KEYS_MAX)
        document = dict(pairs)
        if len(document) == len(pairs):
            return document
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _invalid("the body names a key twice", key=ascii(key)[1:81])
            seen.add(key)
        return document


def _integer(digits: str) -> int:
    if len(digits) > _INT_DIGITS_MAX:
        raise _invalid("the body holds an integer of more than 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _invalid("the body holds a number that is too large")
    return number


def _constant(name: str) -> object:
    raise _invalid(f"the body holds {name}, which is not JSON")


def _refuse_deep(document: object) -> None:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(limits.JSON_DEPTH_MAX):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _invalid("the body is nested too deeply", depth_max=limits.JSON_DEPTH_MAX)


def parse_json(body: bytes) -> object:
    """The document in `body`.

    Raises:
        Refused: INVALID_REQUEST, saying what is wrong and where, never what stands there.
    """
    document = _quickly(body)
    return _carefully(body) if document is None else document


def _quickly(body: bytes) -> dict[str, Any] | None:
    """The document of a body that is beyond doubt sound; None leaves it to a closer look.

    orjson reads all else as `_carefully` does, refuses what JSON does not know, and no lone surrogate.
    """
    if body.count(b"{") + body.count(b"[") > limits.JSON_DEPTH_MAX or _LONG_NUMBER.search(body):
        return None
    if body.count(b":") > limits.JSON_KEYS_MAX:
        return None
    try:
        document = orjson.loads(body)
        again = orjson.dumps(document)
    except (orjson.JSONDecodeError, TypeError):
        return None
    # Of a key that stood there twice only one is left, and so are fewer quotes.
    is_whole = isinstance(document, dict) and _quotes(body) == _quotes(again)
    return document if is_whole else None


def _quotes(text: bytes) -> int:
    """How many begin or end a text; where one ends with a backslash, its last does not count."""
    return text.count(b'"') - text.count(b'\\"')


def _carefully(body: bytes) -> object:
    try:
        document: object = json.loads(
            body.decode(),
            object_pairs_hook=_Objects().made_of,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_constant,
        )
    except UnicodeDecodeError:
        raise _invalid("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _invalid("the body is nested too deeply", depth_max=limits.JSON_DEPTH_MAX) from None
    _refuse_deep(document)
    try:
        orjson.dumps(document)
    except TypeError:
        raise _invalid(
            "the body holds an integer of more than 64 bits or a lone surrogate"
        ) from None
    return document


async def read_body(request: Request, *, wait_ms: int) -> bytes:
    """The whole body, when it arrives in time.

    Raises:
        Refused: INVALID_REQUEST after `wait_ms` (the connection closes with the answer, else a
            trickle would hold it for good), PAYLOAD_TOO_LARGE from the guard's count.
    """
    with anyio.move_on_after(wait_ms / 1000):
        return await request.body()
    request.scope["state"]["body_abandoned"] = True
    raise _invalid("the body did not arrive in time", wait_ms=wait_ms)


async def read_json(request: Request, *, wait_ms: int) -> object:
    """The body's document."""
    return parse_json(await read_body(request, wait_ms=wait_ms))


def as_model(document: object, model: type[Model]) -> Model:
    """The document as a model of ours.

    Raises:
        Refused: INVALID_REQUEST with details.path.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "$"
        raise _invalid(f"{path}: {first['msg']}", path=path, faults=error.error_count()) from None
