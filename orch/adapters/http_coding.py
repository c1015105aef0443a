"""How is an answer unpacked without letting a small one become a huge one?

We ask for no packing at all, since it only delays a stream; an endpoint that packs anyway is understood.
Whatever arrives comes out in pieces of bounded size, and is checked against its own end.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_outcomes import AnswerFault

PIECE_BYTES: Final = 64 * 1024
_WINDOW_BITS: Final = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,
    "deflate": zlib.MAX_WBITS,
}


class Unpacker:
    """One answer's body."""

    def __init__(self, coding: str) -> None:
        """`coding` is the answer's Content-Encoding.

        Raises:
            AnswerFault: we do not speak it.
        """
        name = coding.strip().lower()
        self._unzip = None
        if name in _WINDOW_BITS:
            self._unzip = zlib.decompressobj(_WINDOW_BITS[name])
        elif name not in {"", "identity"}:
            message = "the answer is packed in a way that was not asked for"
            raise AnswerFault(Outcome.LOGIC, ReasonCode.ANSWER, message)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes that `data` stands for.

        Raises:
            AnswerFault: it is not packed as it says.
        """
        if self._unzip is None:
            yield data
            return
        while data and not self._unzip.eof:
            try:
                piece = self._unzip.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                message = f"the answer cannot be unpacked: {error}"
                raise AnswerFault(Outcome.TRANSIENT, ReasonCode.ANSWER, message) from None
            data = self._unzip.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> None:
        """The answer is at its end.

        Raises:
            AnswerFault: what was packed is not.
        """
        if self._unzip is not None and not self._unzip.eof:
            message = "the packed answer ended too early"
            raise AnswerFault(Outcome.TRANSIENT, ReasonCode.ANSWER_CUT, message)
