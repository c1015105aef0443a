"""What inline jobs of these tests call; `board` is how a test and its jobs see each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import anyio

from contracts.limits import INLINE_BYTES_MAX


@dataclass
class Board:
    began: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    gates: dict[int, anyio.Event] = field(default_factory=dict)

    def gate(self, n: int) -> anyio.Event:
        return self.gates.setdefault(n, anyio.Event())


board = Board()


class Odd(BaseException):
    def __str__(self) -> str:
        raise RuntimeError


async def quick(n: int) -> int:
    board.began.append(n)
    board.ended.append(n)
    return n


async def large() -> str:
    return "x" * INLINE_BYTES_MAX


async def gated(n: int) -> int:
    board.began.append(n)
    await board.gate(n).wait()
    board.ended.append(n)
    return n


async def swallows(n: int) -> str:
    board.began.append(n)
    try:
        await anyio.sleep_forever()
    except asyncio.CancelledError:
        board.ended.append(n)
    return "all the same"


async def raises(what: str) -> object:
    if what == "surrogate":
        raise ValueError("half \udc80 a character")
    if what == "result":
        return object()
    kinds: dict[str, type[BaseException]] = {
        "Odd": Odd,
        "SystemExit": SystemExit,
        "CancelledError": asyncio.CancelledError,
    }
    raise kinds[what]


async def appends(numbers: list[int]) -> list[int]:
    numbers.append(2)
    return numbers
