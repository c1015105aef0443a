"""Bytes of a stream of events in, text out; OpenAI-style events are known by their looks. Pure."""

from __future__ import annotations

from typing import Any

from contracts.limits import HTTP_EVENT_BYTES_MAX, HTTP_TEXT_CHARS_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters import http_openai
from orch.adapters.http_openai import DONE, Tally
from orch.adapters.http_outcomes import AnswerFault, of_error_object
from orch.adapters.http_sse import EventReader, ServerEvent, TooLongError
from orch.adapters.protocol import Stream


class Text:
    """The text so far, as long as a result carries it."""

    def __init__(self) -> None:
        self._parts: list[str] | None = []
        self._chars = 0

    def add(self, text: str) -> str:
        """One more piece; hands it back."""
        self._chars += len(text)
        if self._chars > HTTP_TEXT_CHARS_MAX:
            self._parts = None
        if self._parts is not None:
            self._parts.append(text)
        return text

    def whole(self) -> str | None:
        """All of it; None when it is too long."""
        return None if self._parts is None else "".join(self._parts)


class EventsReader:
    """A stream of events; whether OpenAI-style is known, or seen from the first one that carries data."""

    stream: Stream = "token"

    def __init__(self, *, openai: bool | None) -> None:
        self.over = False
        self.progress = 0
        self.tally: Tally | None = None
        self._is_openai = openai
        self._events = EventReader()
        self._text = Text()
        self._finish_reason: str | None = None

    def feed(self, data: bytes) -> str:
        """The text of the events that `data` completes."""
        try:
            events = self._events.feed(data)
        except TooLongError:
            message = f"an event of a stream has at most {HTTP_EVENT_BYTES_MAX} bytes"
            raise self._malformed(message) from None
        return self._text_of(events)

    def finish(self) -> str:
        """The stream ended; an OpenAI-style one must have said so first."""
        text = self._text_of(self._events.rest())
        if self._is_openai and not self.over:
            message = f"the stream ended without {DONE}"
            raise AnswerFault(Outcome.TRANSIENT, ReasonCode.ANSWER_CUT, message)
        return text

    def result(self) -> dict[str, Any]:
        """The text of all events."""
        ended = {"finish_reason": self._finish_reason} if self._is_openai else {}
        return {"text": self._text.whole(), **ended}

    def _text_of(self, events: list[ServerEvent]) -> str:
        texts = []
        for event in events:
            if not self.over:
                texts.append(self._take(event))
                self.progress += 1
        return self._text.add("".join(texts))

    def _take(self, event: ServerEvent) -> str:
        if event.data.strip() == DONE:
            self.over = True
            return ""
        try:
            document = http_openai.parsed(event.data)
        except ValueError:
            document = None
        if event.name == "error":
            raise _reported(document, event.data)
        if self._is_openai is None:
            self._is_openai = http_openai.is_openai(document) or _is_error(document)
        if self._is_openai:
            return self._said(document)
        self.tally = http_openai.tally_of(document) or self.tally
        return event.data

    def _said(self, document: Any) -> str:
        if document is None:
            raise self._malformed("an event of the stream is no JSON")
        said = http_openai.said_by(document)
        self.tally = said.tally or self.tally
        self._finish_reason = said.finish_reason or self._finish_reason
        return said.text

    def _malformed(self, message: str) -> AnswerFault:
        """What had begun well may have been garbled on its way; what never made sense will not next time."""
        outcome = Outcome.TRANSIENT if self.progress else Outcome.LOGIC
        return AnswerFault(outcome, ReasonCode.ANSWER, message)


def _is_error(document: Any) -> bool:
    return isinstance(document, dict) and bool(document.get("error"))


def _reported(document: Any, data: str) -> AnswerFault:
    inner = document.get("error", document) if isinstance(document, dict) else document
    return of_error_object(inner or data)
