"""A call that runs while its caller goes on, with its failure as the caller would have met it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from contracts.errors import OrchError

T = TypeVar("T")


class Aside(Generic[T]):
    """One call, for a task of its own."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._answers: list[T] = []
        self._failure: OrchError | None = None

    async def run(self) -> None:
        """Carries it out. A failure waits for `answer`: a task group would make it a group of one."""
        try:
            self._answers.append(await self._call())
        except OrchError as error:
            self._failure = error

    def answer(self) -> T:
        """Once it has run.

        Raises:
            OrchError: what the call raised.
        """
        if self._failure is not None:
            raise self._failure
        return self._answers[0]
