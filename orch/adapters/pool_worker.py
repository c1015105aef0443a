"""The child of `pool.py`: calls user code, one call at a time, until its channel closes.

A stand-alone program: `python -P pool_worker.py <channel fd> [<path>]`. Frames in both directions are
four bytes of length, big endian, then JSON.
    in:  {"callable": "pkg.mod:f", "args", "kwargs", "env"}
    out: {"result"} | {"fault": "exception" | "not_found", "message"} | {"stale": true}, each with
         "spent": true when this process must not serve another call (it has children left).
Stale: a source file below `path` has changed since it was imported; nothing was called. A call that ends
the process is seen by its guard. Threads that a call leaves running cannot be ended and stay.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import orjson

PR_SET_CHILD_SUBREAPER = 36
TRACEBACK_CHARS = 8_000
MESSAGE_CHARS = 500


class NotFound(Exception):
    """The callable is not there."""


class Channel:
    """Length-prefixed frames over one socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = b""

    def _fill(self, size: int) -> None:
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            part = os.read(self._fd, 65536)
            if not part:  # the runner is gone or wants us gone
                os._exit(0)
            parts.append(part)
            have += len(part)
        self._buffer = b"".join(parts)

    def receive(self) -> dict[str, Any]:
        """The next frame; ends the process when there will be none."""
        self._fill(4)
        end = 4 + int.from_bytes(self._buffer[:4], "big")
        self._fill(end)
        frame, self._buffer = self._buffer[4:end], self._buffer[end:]
        document: dict[str, Any] = orjson.loads(frame)
        return document

    def send(self, document: bytes) -> None:
        """One whole frame."""
        data = memoryview(len(document).to_bytes(4, "big") + document)
        while data:
            data = data[os.write(self._fd, data) :]


class Sources:
    """The files below `path` that were imported, as they were then."""

    def __init__(self, path: str | None) -> None:
        self._root = None if path is None else os.path.join(os.path.realpath(path), "")
        self._seen = 0
        self._marks: dict[str, tuple[int, int]] = {}

    def look(self) -> None:
        """Notes modules that were imported since the last look."""
        if self._root is None or len(sys.modules) == self._seen:
            return
        self._seen = len(sys.modules)
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and os.path.realpath(file).startswith(self._root):
                self._marks.setdefault(file, _mark(file))

    def changed(self) -> bool:
        """Whether one of them is no longer what was imported."""
        return any(_mark(file) != mark for file, mark in self._marks.items())


def _mark(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def resolve(name: str) -> Callable[..., Any]:
    """The callable that `pkg.mod:attribute.path` names.

    Raises:
        NotFound: no such module, no such attribute, or it cannot be called.
    """
    module_name, _, attributes = name.partition(":")
    if module_name not in sys.modules:
        importlib.invalidate_caches()  # a file written a moment ago must be found
    try:
        target: Any = importlib.import_module(module_name)
        for attribute in attributes.split("."):
            target = getattr(target, attribute)
    except (ImportError, AttributeError) as error:
        message = f"cannot load {name}: {error}"
        raise NotFound(message) from error
    if not callable(target):
        message = f"{name} is not callable"
        raise NotFound(message)
    found: Callable[..., Any] = target
    return found


class Worker:
    """Calls one callable after the other."""

    def __init__(self) -> None:
        self._streams = (sys.stdout, sys.stderr)
        self._environment = dict(os.environ)
        self._folder = os.getcwd()
        self._loop: asyncio.Runner | None = None

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """One call; what it raises becomes a fault, its traceback goes to stderr."""
        os.environ.update(request["env"])
        try:
            value = resolve(request["callable"])(*request["args"], **request["kwargs"])
            if hasattr(value, "__await__"):
                value = self._await(value)
            return {"result": value}
        except SystemExit as error:
            self._exit(error)
        except NotFound as error:
            return {"fault": "not_found", "message": str(error)[:MESSAGE_CHARS]}
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return fault(error, error.__traceback__ and error.__traceback__.tb_next)
        raise AssertionError("an exit returned")

    def tidy(self) -> bool:
        """Puts back what a call may have changed; whether this process can serve another one."""
        sys.stdout, sys.stderr = self._streams
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            if os.environ.copy() != self._environment:
                os.environ.clear()
                os.environ.update(self._environment)
            os.chdir(self._folder)
        except (OSError, ValueError):
            return False
        return not has_children()

    def _await(self, value: Any) -> Any:
        async def awaited() -> Any:
            try:
                return await value
            finally:
                rest = asyncio.all_tasks() - {asyncio.current_task()}
                for task in rest:
                    task.cancel()
                await asyncio.gather(*rest, return_exceptions=True)

        self._loop = self._loop or asyncio.Runner()
        return self._loop.run(awaited())

    def _exit(self, error: SystemExit) -> None:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(error.code + "\n")
        for stream in self._streams:
            stream.flush()
        os._exit(code & 0xFF)


def fault(error: BaseException, frames: Any) -> dict[str, Any]:
    """What the runner is told of an exception; `frames` leaves our own out of the traceback."""
    text = "".join(traceback.format_exception(type(error), error, frames))
    sys.stderr.write(text[-TRACEBACK_CHARS:])
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - __str__ is user code too
        words = "(its text cannot be made)"
    return {"fault": "exception", "message": f"{type(error).__name__}: {words}"[:MESSAGE_CHARS]}


def has_children() -> bool:
    """Whether a call left processes; orphans of its children count, this process is their reaper."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def encode(reply: dict[str, Any]) -> bytes:
    """The reply as JSON; a result that JSON cannot hold is the callable's fault."""
    try:
        return orjson.dumps(reply)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the result is not JSON: {error}"[:MESSAGE_CHARS]
        return orjson.dumps({"fault": "exception", "message": message})


def main() -> None:
    """Serves calls until the channel closes."""
    channel_fd = int(sys.argv[1])
    os.set_inheritable(channel_fd, False)
    os.environ.pop("ORCH_WORKER", None)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    path = sys.argv[2] if len(sys.argv) > 2 else None
    if path is not None:
        sys.path.insert(0, path)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]  # ours
    channel, sources, worker = Channel(channel_fd), Sources(path), Worker()
    while True:
        request = channel.receive()
        if sources.changed():
            channel.send(b'{"stale":true,"spent":true}')
            continue
        reply = worker.call(request)
        sources.look()
        document = encode(reply)
        if not worker.tidy():
            document = document[:-1] + b',"spent":true}'
        channel.send(document)


if __name__ == "__main__":
    main()
