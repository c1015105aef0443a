"""Structured logs: JSON lines on stderr, or readable text on a terminal. Ids always, payloads never.

Lines of libraries come out in the same shape. They are told from warnings on, whatever the level: what they
say below that is bytes on their wires.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from typing import Final

import structlog

from orch.telemetry.redaction import Redactor, secrets_in, tell_exceptions
from orch.telemetry.subject import add_ids

OWN: Final = "orch"
"""The stdlib loggers that the level is for."""


def configure_logs(level: str, *, actor: str, secrets: Iterable[str] = ()) -> None:
    """Sets up structlog, and the stdlib's logging behind it, for this process.

    `secrets` are values that must not be told, besides those that the environment holds under telling names.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    first: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_current_exception,
        add_ids,
        tell_exceptions,
    ]
    last: list[structlog.typing.Processor] = [
        Redactor(secrets_in(os.environ) | frozenset(secrets)),
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(actor=actor)
    _lead_stdlib(threshold, first, last, actor)


def _with_current_exception(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    return event


def _lead_stdlib(
    threshold: int,
    first: list[structlog.typing.Processor],
    last: list[structlog.typing.Processor],
    actor: str,
) -> None:
    def whose(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        # A thread that was there before has no context of ours.
        event.setdefault("actor", actor)
        record = event["_record"]
        event["logger"] = record.name
        return event

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, whose],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(threshold)
