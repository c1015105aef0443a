"""What `orch doctor --json` prints. Which checks there are may grow; what a row says stays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contracts.record import View


class DoctorCheck(View):
    """One thing that was looked at."""

    name: Annotated[str, Field(description="What was looked at; no name stands twice.")]
    ok: Annotated[bool, Field(description="False when the severity is fail.")]
    severity: Annotated[
        Literal["ok", "warn", "fail"],
        Field(description="warn: it works, and may not always; fail: it does not do."),
    ]
    found: Annotated[str, Field(description="What is there.")]
    fix: Annotated[str, Field(description="What to do; empty when the severity is ok.")]


class DoctorReport(View):
    """All of them; the command exits 0 when `ok`, else 7."""

    ok: Annotated[bool, Field(description="Whether no check fails.")]
    checks: list[DoctorCheck]
