"""What one event of an OpenAI-style stream says, and what a whole completion says: text, usage, an error.

Only the first choice counts, and of it the text; tool calls and reasoning are passed over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from contracts.limits import COUNT_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_outcomes import AnswerFault, of_error_object

DONE: Final = "[DONE]"
MICROS: Final = 1_000_000
TOKENS_IN: Final = ("prompt_tokens", "input_tokens", "tokens_in")
TOKENS_OUT: Final = ("completion_tokens", "output_tokens", "tokens_out")
"""What servers call what was read and written; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What an answer has used."""

    tokens_in: int
    tokens_out: int
    cost_micros: int | None

    def document(self) -> dict[str, int | None]:
        """As events, frames and results carry it."""
        return {
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cost_micros": self.cost_micros,
        }


@dataclass(frozen=True, slots=True)
class Said:
    """What one event, or one whole completion, adds."""

    text: str = ""
    finish_reason: str | None = None
    tally: Tally | None = None


def parsed(data: str) -> Any:
    """The data of an event as JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None


def said_by(document: Any) -> Said:
    """What the document says.

    Raises:
        AnswerFault: an error of the provider, or no such document at all.
    """
    if not isinstance(document, dict):
        message = "an event of the stream is no JSON object"
        raise AnswerFault(Outcome.LOGIC, ReasonCode.ANSWER, message)
    if document.get("error"):
        raise of_error_object(document["error"])
    choice = _first(document.get("choices"))
    return Said(
        text=_text_of(choice),
        finish_reason=_text(choice.get("finish_reason")) or None,
        tally=tally_of(document),
    )


def is_openai(document: Any) -> bool:
    """Whether an event looks like one of theirs."""
    return isinstance(document, dict) and (
        isinstance(document.get("choices"), list)
        or str(document.get("object", "")).startswith(("chat.completion", "text_completion"))
    )


def tally_of(document: Any) -> Tally | None:
    """The usage that a document reports; numbers that are none count as nothing."""
    told = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(told, dict):
        return None
    return Tally(
        _count(next((told[name] for name in TOKENS_IN if name in told), 0)),
        _count(next((told[name] for name in TOKENS_OUT if name in told), 0)),
        _cost(told),
    )


def _cost(told: dict[str, Any]) -> int | None:
    if "cost_micros" in told:
        return _count(told["cost_micros"])
    cost = told.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    return _count(round(cost * MICROS)) if 0 <= cost < COUNT_MAX / MICROS else None


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return min(max(value, 0), COUNT_MAX)


def _first(choices: Any) -> dict[str, Any]:
    """The choice that counts: number 0, which the first in the list is unless it says otherwise."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index", 0) in {0, None}:
            return choice
    return {}


def _text_of(choice: dict[str, Any]) -> str:
    for name in ("delta", "message"):
        holder = choice.get(name)
        if isinstance(holder, dict):
            return _text(holder.get("content"))
    return _text(choice.get("text"))


def _text(value: Any) -> str:
    """A text that can be stored: half a character, which JSON can name, cannot."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
