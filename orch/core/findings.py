"""What a doctor says: one finding for each thing that was looked at, and what to do about it.

Start-up and `orch doctor` speak in these. Who looks, and what is well, is decided elsewhere
(`orch.store.fitness`, `orch.core.readiness`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Severity: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Whatever is not `ok` says in `fix` what to do."""

    name: str
    severity: Severity
    found: str
    fix: str = ""

    def __post_init__(self) -> None:
        assert self.severity == "ok" or self.fix, f"{self.name} has no fix"

    @property
    def ok(self) -> bool:
        """Whether one can go on with it: a warning does not fail."""
        return self.severity != "fail"

    def document(self) -> dict[str, Any]:
        """As `--json` shows it (contracts/schemas/v1/doctor.json)."""
        return {
            "name": self.name,
            "ok": self.ok,
            "severity": self.severity,
            "found": self.found,
            "fix": self.fix,
        }


def well(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(name, "ok", found)


def warning(name: str, found: str, fix: str) -> Finding:
    """It works, and may not always."""
    return Finding(name, "warn", found, fix)


def failing(name: str, found: str, fix: str) -> Finding:
    """It does not do."""
    return Finding(name, "fail", found, fix)


def finding_of(row: dict[str, Any]) -> Finding:
    """What `document` made, from another process.

    Raises:
        KeyError: it is none.
    """
    ok = bool(row["ok"])
    fix = "" if ok and row.get("severity", "ok") == "ok" else str(row["fix"])
    severity: Severity = "fail" if not ok else "warn" if fix else "ok"
    return Finding(str(row["name"]), severity, str(row["found"]), fix)


def report(findings: Iterable[Finding]) -> dict[str, Any]:
    """The whole, as `--json` shows it."""
    rows = [one.document() for one in findings]
    return {"ok": all(row["ok"] for row in rows), "checks": rows}
