"""One request and its answer: read as it comes, handed on in order, judged at its end.

Backpressure is the socket's: while the desk is slow nothing is read. The idle watchdog counts only the time
in which the endpoint says nothing new; a comment that keeps the line open is no progress (RUN-3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import aclosing, suppress

import anyio
import httpcore2

from contracts.adapters import HttpConfig
from contracts.limits import HTTP_ANSWER_BYTES_MAX, HTTP_FAULT_BYTES_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_answers import Reader, reader_for
from orch.adapters.http_call import Call
from orch.adapters.http_coding import Unpacker
from orch.adapters.http_openai import Tally, parsed
from orch.adapters.http_outcomes import AnswerFault, of_broken_link, of_status
from orch.adapters.http_secrets import Blotter
from orch.adapters.http_wire import LINK_ERRORS, Wire, header_map
from orch.adapters.output import Output, Splitter
from orch.adapters.protocol import Ending, Stream
from orch.ports import Clock


class Exchange:
    """Of one attempt."""

    def __init__(self, call: Call, config: HttpConfig, output: Output, clock: Clock) -> None:
        self._call = call
        self._config = config
        self._output = output
        self._clock = clock
        self._blotter = Blotter(call.secrets)
        self._idle = anyio.CancelScope()
        self._began = False
        self._bytes = 0
        self._reader: Reader | None = None

    @property
    def tally(self) -> Tally | None:
        """What the answer used, as far as it said."""
        return self._reader.tally if self._reader is not None else None

    async def run(self, wire: Wire, may_send: Callable[[], None]) -> Ending:
        """Its end; the connection is closed, or free for the next call. May be canceled at any await."""
        with self._idle:
            self._count_idle()
            return await self._run(wire, may_send)
        return Ending(Outcome.RESOURCE, ReasonCode.IDLE_LIMIT, "the endpoint said nothing new")

    async def _run(self, wire: Wire, may_send: Callable[[], None]) -> Ending:
        try:
            async with wire.send(self._call, may_send) as answer:
                return await self._judge(answer)
        except AnswerFault as fault:
            return fault.ending
        except LINK_ERRORS as error:
            return of_broken_link(error, began=self._began)

    async def _judge(self, answer: httpcore2.Response) -> Ending:
        headers = header_map(answer)
        expected = self._config.expect or range(200, 300)
        if answer.status not in expected:
            said = await self._said(answer)
            return of_status(answer.status, headers, said, self._clock.wall_ms())
        self._began = True
        self._reader = reader_for(
            self._config.mode, headers.get("content-type", ""), self._config.result
        )
        await self._read(answer, self._reader, Unpacker(headers.get("content-encoding", "")))
        result = {"status": answer.status, **self._reader.result()}
        if self.tally is not None:
            result["usage"] = self.tally.document()
        return Ending(Outcome.DONE, ReasonCode.COMPLETED, result=result)

    async def _read(self, answer: httpcore2.Response, reader: Reader, unpacker: Unpacker) -> None:
        async with aclosing(answer.aiter_stream()) as chunks:
            async for chunk in chunks:
                for data in unpacker.feed(chunk):
                    self._weigh(data)
                    await self._take(reader, self._blotter.feed(data))
                    if reader.over:
                        return
        unpacker.finish()
        await self._take(reader, self._blotter.rest())
        # Which stream it is, a JSON answer knows only now.
        text = reader.finish()
        await self._hand_on(reader.stream, text)

    async def _take(self, reader: Reader, data: bytes) -> None:
        before = reader.progress
        text = reader.feed(data)
        if text:
            await self._hand_on(reader.stream, text)
        elif reader.progress > before:
            self._count_idle()

    async def _hand_on(self, stream: Stream, text: str) -> None:
        if not text:
            return
        # A slow store is not the endpoint's silence.
        self._idle.deadline = math.inf
        data = text.encode()
        self._output.take(data)
        splitter = Splitter()
        await self._output.send(stream, splitter.feed(data) + splitter.rest())
        self._count_idle()

    async def _said(self, answer: httpcore2.Response) -> str:
        """What a refusal says, shown in the output; the words of its error for the record."""
        body = bytearray()
        # One that does not come to its end is judged by its status all the same.
        with anyio.move_on_after(self._call.connect_s), suppress(AnswerFault, *LINK_ERRORS):
            await self._head(answer, body)
        told = self._blotter.feed(bytes(body[:HTTP_FAULT_BYTES_MAX]))
        if len(body) < HTTP_FAULT_BYTES_MAX:
            told += self._blotter.rest()  # else it may be the first half of a secret
        text = told.decode("utf-8", "replace")
        await self._hand_on("stderr", text)
        return _words_of(text)

    async def _head(self, answer: httpcore2.Response, body: bytearray) -> None:
        unpacker = Unpacker(header_map(answer).get("content-encoding", ""))
        async with aclosing(answer.aiter_stream()) as chunks:
            async for chunk in chunks:
                for data in unpacker.feed(chunk):
                    body += data
                    if len(body) >= HTTP_FAULT_BYTES_MAX:
                        return

    def _weigh(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > HTTP_ANSWER_BYTES_MAX:
            message = f"an answer has at most {HTTP_ANSWER_BYTES_MAX} bytes"
            raise AnswerFault(Outcome.RESOURCE, ReasonCode.ANSWER_SIZE, message)

    def _count_idle(self) -> None:
        if self._config.idle_ms is not None:
            self._idle.deadline = anyio.current_time() + self._config.idle_ms / 1000


def _words_of(body: str) -> str:
    try:
        document = parsed(body)
    except ValueError:
        return " ".join(body.split())
    error = document.get("error", document) if isinstance(document, dict) else document
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message or body).split())
