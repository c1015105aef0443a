"""A client that goes on submitting, whatever happens to the stack, and remembers what was acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from contracts.errors import OrchError
from tests.e2e.specs import call
from tests.e2e.stack import Stack


def _echo(n: int) -> dict[str, Any]:
    return call("echo", n)


class Submitter:
    """Submits small jobs one after the other until told to stop; job `n` has the result `n`."""

    def __init__(self, stack: Stack, spec: Callable[[int], dict[str, Any]] = _echo) -> None:
        self._stack = stack
        self._spec = spec
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._submit)
        self.acknowledged: dict[str, int] = {}
        self.refused = 0

    def __enter__(self) -> Submitter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _submit(self) -> None:
        n = 0
        while not self._stopped.is_set():
            n += 1
            try:
                submitted = self._stack.client.submit(self._spec(n), f"key-{n}")
            except OrchError:
                self.refused += 1
            else:
                self.acknowledged[submitted.job_id] = n
