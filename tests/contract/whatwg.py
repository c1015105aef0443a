"""A second reader of event streams, written from the WHATWG standard (HTML, 9.2.6) and nothing else.

It shares no line with the client that Orch ships, so that both can only agree about what really stands in the
stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """What an EventSource would dispatch: type, data, and the last event id at that moment."""

    type: str
    data: str
    last_event_id: str


def messages(stream: bytes) -> list[Message]:
    """All messages of a whole stream. What stands behind the last blank line is not dispatched."""
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    # A line ends with CRLF, LF or CR; what is behind the last end is no line yet.
    *lines, _ = re.split("\r\n|\n|\r", text)
    found: list[Message] = []
    event_type, data, last_id = "", "", ""
    for line in lines:
        if line == "":
            if data:
                found.append(Message(event_type or "message", data.removesuffix("\n"), last_id))
            event_type, data = "", ""
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "event":
                    event_type = value
                case "data":
                    data += value + "\n"
                case "id" if "\0" not in value:
                    last_id = value
                case _:
                    pass  # `retry`, and every field that nobody knows
    return found
