"""Calls in the runner's own loop: `isolation: inline`, for small code that is trusted not to block (RUN-1).

What such a job costs is what its runner adds to it, so a spec is read here once, and only what the call
needs of it: admission has judged the whole. Every call gets arguments of its own, parsed for it alone.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, NotRequired

import anyio
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Desk, Ending

MESSAGE_CHARS: Final = 500
TRACEBACK_CHARS: Final = 2_000
"""Of its tail; at four bytes a character still one log entry."""
_NO_NAMES: Final[dict[str, Any]] = {}


class InlineCall(TypedDict):
    """What is called, and how."""

    callable: str
    isolation: Literal["inline"]
    args: NotRequired[list[Any]]
    kwargs: NotRequired[dict[str, Any]]
    path: NotRequired[str | None]
    wall_ms: NotRequired[int | None]


class _Adapter(TypedDict):
    name: Literal["python"]
    config: InlineCall


class _Spec(TypedDict):
    adapter: _Adapter


_SPEC = TypeAdapter(_Spec)


def inline_call(spec: str) -> InlineCall | None:
    """What a spec (JSON) wants called in the runner; None for any other job, and for what is no spec."""
    if '"inline"' not in spec:
        return None
    try:
        return _SPEC.validate_json(spec, strict=True)["adapter"]["config"]
    except ValidationError:
        return None


class Inline:
    """Calls, each loaded once."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str | None, str], Callable[..., Awaitable[Any]]] = {}

    async def run(self, call: InlineCall, desk: Desk) -> Ending:
        """Awaits the function; raises nothing of the function's own."""
        name = call.get("path"), call["callable"]
        function = self._functions.get(name)
        if function is None:
            try:
                function = _loaded(*name)
            except (ImportError, AttributeError) as error:
                message = f"cannot load {name[1]}: {error}"[:MESSAGE_CHARS]
                return Ending(Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND, message)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a module's top level may raise anything
                return await _raised(error, desk)
            if not inspect.iscoroutinefunction(function):
                message = f"{name[1]} is not an async function; isolation 'inline' takes no other"
                return Ending(Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG, message)
            self._functions[name] = function
        return await _called(function, call, desk)


def _loaded(path: str | None, name: str) -> Any:
    if path is not None and path not in sys.path:
        sys.path.insert(0, path)
    importlib.invalidate_caches()
    module, _, attributes = name.partition(":")
    target: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        target = getattr(target, attribute)
    return target


async def _called(function: Callable[..., Awaitable[Any]], call: InlineCall, desk: Desk) -> Ending:
    args, kwargs, wall_ms = call.get("args", ()), call.get("kwargs", _NO_NAMES), call.get("wall_ms")
    try:
        if wall_ms is None:
            return done(await function(*args, **kwargs))
        with anyio.move_on_after(wall_ms / 1000):
            return done(await function(*args, **kwargs))
    except BaseException as error:
        if _is_ours(error):
            raise
        return await _raised(error, desk)
    return too_long()


def _is_ours(error: BaseException) -> bool:
    """Whether it is meant for the runner: user code may raise anything, a cancellation of its own too."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return anyio.current_effective_deadline() == -math.inf
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


async def _raised(error: BaseException, desk: Desk) -> Ending:
    frames = error.__traceback__ and error.__traceback__.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    await desk.output("stderr", _legible(text[-TRACEBACK_CHARS:]))
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - __str__ is user code too
        words = "(its text cannot be made)"
    message = f"{type(error).__name__}: {_legible(words)}"[:MESSAGE_CHARS]
    return Ending(Outcome.LOGIC, ReasonCode.EXCEPTION, message)


def _legible(text: str) -> str:
    """Half a character cannot be stored."""
    return text.encode("utf-8", "backslashreplace").decode()


def done(value: Any) -> Ending:
    """The call returned."""
    return Ending(Outcome.DONE, ReasonCode.COMPLETED, result=value)


def too_long() -> Ending:
    """The call was stopped at its limit."""
    return Ending(Outcome.RESOURCE, ReasonCode.WALL_LIMIT, "stopped at its limit of wall time")
