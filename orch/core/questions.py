"""Whether an answer fits the question it is for (APR-1)."""

from __future__ import annotations

from typing import Any

from contracts.errors import ErrorCode, Refused
from contracts.limits import ANSWER_BYTES_MAX
from contracts.record import Question

APPROVE_WORDS = ("approve", "deny")


def _refuse(message: str, question: Question, **details: Any) -> Refused:
    return Refused(
        ErrorCode.INVALID_ANSWER,
        message,
        details={"question_id": question.question_id, "kind": question.kind, **details},
    )


def checked_answer(question: Question, value: object) -> str | bool:
    """`value` as it is stored: `approve` or `deny`, one of the options, or a text.

    Raises:
        Refused: INVALID_ANSWER, naming what would fit.
    """
    match question.kind:
        case "approve":
            word = {True: "approve", False: "deny"}.get(value) if isinstance(value, bool) else value
            if word not in APPROVE_WORDS:
                raise _refuse(
                    "an approval is answered with approve or deny",
                    question,
                    options=list(APPROVE_WORDS),
                )
            return str(word)
        case "choose":
            if value not in (question.options or []):
                raise _refuse(
                    f"{value!r} is not one of the options", question, options=question.options
                )
            return str(value)
        case "text":
            if not isinstance(value, str) or not value:
                raise _refuse("a text question is answered with a text", question)
            if len(value.encode()) > ANSWER_BYTES_MAX:
                raise _refuse(
                    f"an answer has at most {ANSWER_BYTES_MAX} bytes",
                    question,
                    bytes_max=ANSWER_BYTES_MAX,
                )
            return value
