"""Bytes of an answer in, text out: plain text, JSON, or what `http_events.py` reads.

Pure: what is read is handed back, and the reader remembers what the result needs. Who asks, waits and hands
on is `http_exchange.py`.
"""

from __future__ import annotations

import codecs
from typing import Any, Final, Protocol

import orjson

from contracts.limits import HTTP_JSON_BYTES_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters import http_openai
from orch.adapters.http_events import EventsReader, Text
from orch.adapters.http_openai import Tally
from orch.adapters.http_outcomes import AnswerFault
from orch.adapters.protocol import Stream


class Reader(Protocol):
    """One answer."""

    stream: Stream
    """Where its text belongs."""
    over: bool
    """It said itself that it is complete."""
    progress: int
    """Grows with whatever says more than that the endpoint lives."""
    tally: Tally | None

    def feed(self, data: bytes) -> str:
        """The text that `data` brings.

        Raises:
            AnswerFault: the answer ends the attempt.
        """
        ...

    def finish(self) -> str:
        """The answer is at its end: the text that was left.

        Raises:
            AnswerFault: it is not complete, or cannot be read.
        """
        ...

    def result(self) -> dict[str, Any]:
        """What the job's result says of it, beside the status."""
        ...


class TextReader:
    """Anything that is neither JSON nor a stream of events."""

    stream: Stream = "token"
    over = False
    tally: Tally | None = None

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = Text()
        self.progress = 0

    def feed(self, data: bytes) -> str:
        """Bytes that are no UTF-8 are replaced."""
        self.progress += len(data)
        return self._text.add(self._decoder.decode(data))

    def finish(self) -> str:
        """An unfinished character is replaced too."""
        return self._text.add(self._decoder.decode(b"", final=True))

    def result(self) -> dict[str, Any]:
        """Its text."""
        return {"text": self._text.whole()}


class JsonReader:
    """One JSON document; of a chat completion the text as well."""

    over = False

    def __init__(self, pointer: str | None, *, openai: bool) -> None:
        self.stream: Stream = "stdout"
        self.tally: Tally | None = None
        self.progress = 0
        self._pointer = pointer
        self._is_openai = openai
        self._parts: list[bytes] = []
        self._result: dict[str, Any] = {}

    def feed(self, data: bytes) -> str:
        """Nothing yet."""
        self.progress += len(data)
        if self.progress > HTTP_JSON_BYTES_MAX:
            message = f"a JSON answer has at most {HTTP_JSON_BYTES_MAX} bytes"
            raise AnswerFault(Outcome.RESOURCE, ReasonCode.ANSWER_SIZE, message)
        self._parts.append(data)
        return ""

    def finish(self) -> str:
        """The document as it came, or the text of the completion that it is."""
        data = b"".join(self._parts).removeprefix(codecs.BOM_UTF8)
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            message = f"the answer is no JSON: {error}"
            raise AnswerFault(Outcome.LOGIC, ReasonCode.ANSWER, message) from None
        self.tally = http_openai.tally_of(document)
        self._result = {"json": _pointed(document, self._pointer)}
        if not (self._is_openai or http_openai.is_openai(document)):
            return data.decode()
        said = http_openai.said_by(document)
        self.stream = "token"
        self._result = {"text": said.text, "finish_reason": said.finish_reason, **self._result}
        return said.text

    def result(self) -> dict[str, Any]:
        """The document, or what the pointer names in it."""
        return self._result


_EVENTS: Final = "text/event-stream"


def reader_for(mode: str | None, content_type: str, pointer: str | None) -> Reader:
    """How an answer of that type is read, when the job asked for that mode."""
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if pointer is not None:
        return JsonReader(pointer, openai=mode == "openai")
    if mode == "sse" or (mode is None and kind == _EVENTS):
        return EventsReader(openai=False if mode == "sse" else None)
    if mode == "openai" and not is_json:
        return EventsReader(openai=True)
    if mode in {"json", "openai"} or is_json:
        return JsonReader(None, openai=mode == "openai")
    return TextReader()


def _pointed(document: Any, pointer: str | None) -> Any:
    """The value that a JSON Pointer (RFC 6901) names."""
    for step in (pointer or "").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and _is_index(key) and int(key) < len(document):
            document = document[int(key)]
        else:
            message = f"the answer has nothing at {pointer}"
            raise AnswerFault(Outcome.LOGIC, ReasonCode.ANSWER, message)
    return document


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 10 and (key == "0" or key[0] != "0")
