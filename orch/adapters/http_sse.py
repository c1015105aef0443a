"""Bytes of a `text/event-stream` in, events out, however the network cut them.

Lines may end in CR, LF or both; a mark at the start, comments and fields of other kinds are passed over;
bytes that are no UTF-8 are replaced. Memory is bounded: one event and one unfinished line.
"""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

from contracts.limits import HTTP_EVENT_BYTES_MAX


class ServerEvent(NamedTuple):
    """One event: its name (`message` when it has none) and its data, lines joined."""

    name: str
    data: str


class TooLongError(Exception):
    """One event, or one line, is longer than the bound."""


_DEFAULT_NAME: Final = "message"


class EventReader:
    """One stream."""

    def __init__(self, bytes_max: int = HTTP_EVENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._line: list[bytes] = []
        """Of the unfinished line."""
        self._bytes = 0
        """Of the unfinished line and the unfinished event."""
        self._data: list[str] = []
        self._name = ""
        self._is_first_line = True
        self._ended_in_cr = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that `chunk` completes.

        Raises:
            TooLongError: nothing after it can be read.
        """
        if self._ended_in_cr and chunk[:1] == b"\n":
            chunk, self._ended_in_cr = chunk[1:], False
        if not chunk:
            return []
        self._ended_in_cr = chunk.endswith(b"\r")
        *whole, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for part in whole:
            self._keep(part)
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._keep(rest)
        return events

    def rest(self) -> list[ServerEvent]:
        """The event that the end of the stream completes, if the stream ended inside one."""
        found = [self._end_line(), self._end_event()]
        return [event for event in found if event is not None]

    def _keep(self, part: bytes) -> None:
        self._line.append(part)
        self._bytes += len(part)
        if self._bytes > self._bytes_max:
            raise TooLongError

    def _end_line(self) -> ServerEvent | None:
        line = b"".join(self._line)
        self._line = []
        if self._is_first_line:
            line, self._is_first_line = line.removeprefix(codecs.BOM_UTF8), False
        if not line:
            return self._end_event()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        else:
            self._bytes -= len(line)
            if field == "event":
                self._name = value
        return None

    def _end_event(self) -> ServerEvent | None:
        name, data = self._name or _DEFAULT_NAME, self._data
        self._name, self._data, self._bytes = "", [], 0
        return ServerEvent(name, "\n".join(data)) if data else None
