"""What a campaign says at the end: a table, build/chaos.json, and evidence when something broke."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from tests.chaos.shape import Outcome
from tests.chaos.verdict import KINDS, Violation

BUILD: Final = Path(__file__).resolve().parents[2] / "build"
_NEAR_MS: Final = (5_000, 30_000)
"""A fault so long before or after a submission may be what broke its job."""
_NAMES: Final = {"orphan": "orphans"}


class Tally:
    """Faults of all runs, and what is charged to each.

    Which of the faults around a violation was its cause is not known: each of them is charged.
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.counts: Counter[str] = Counter()
        self.charged: dict[str, Counter[str]] = defaultdict(Counter)
        for outcome in outcomes:
            if outcome.nemesis is not None:
                self.counts.update(outcome.nemesis.counts)
            for violation in outcome.violations:
                for name in self._near(outcome, violation) or {"none"}:
                    self.charged[name][violation.kind] += 1
            for name in outcome.nemesis.acts if outcome.nemesis else ():
                self.counts.setdefault(name, 0)

    @property
    def never(self) -> list[str]:
        """Kinds that were wanted and never took effect: the campaign proves nothing about them."""
        return sorted(name for name, count in self.counts.items() if not count)

    @staticmethod
    def _near(outcome: Outcome, violation: Violation) -> set[str]:
        happened = outcome.nemesis.happened if outcome.nemesis else []
        if not violation.at_ms:
            return {fault.name for fault in happened}
        from_ms, to_ms = violation.at_ms - _NEAR_MS[0], violation.at_ms + _NEAR_MS[1]
        return {f.name for f in happened if f.from_ms <= to_ms and f.to_ms >= from_ms}

    @property
    def rows(self) -> dict[str, dict[str, int]]:
        """Fault -> its count and what is charged to it."""
        names = sorted({*self.counts, *self.charged})
        return {
            name: {
                "count": self.counts[name],
                **{_NAMES.get(kind, kind): self.charged[name][kind] for kind in KINDS},
            }
            for name in names
        }

    def table(self) -> str:
        """For the terminal."""
        heads = ["count", *(_NAMES.get(kind, kind) for kind in KINDS)]
        lines = [f"{'fault':18}" + "".join(f"{head:>11}" for head in heads)]
        for name, row in self.rows.items():
            lines.append(f"{name:18}" + "".join(f"{row[head]:>11}" for head in heads))
        return "\n".join(lines)


def document(
    outcomes: Sequence[Outcome],
    *,
    seed: str,
    on: Sequence[str],
    minutes: float,
    recovery: dict[str, Any],
) -> dict[str, Any]:
    """build/chaos.json."""
    return {
        "seed": seed,
        "on": list(on),
        "minutes": minutes,
        "faults": Tally(outcomes).rows,
        "recovery": recovery,
        "jobs": dict(sum((outcome.jobs for outcome in outcomes), Counter())),
        "runs": [
            {
                "name": outcome.shape.name,
                "seconds": outcome.shape.seconds,
                "violations": [[v.kind, v.what] for v in outcome.violations],
                "invalid": outcome.invalid,
                "skipped": outcome.skipped,
                **outcome.notes,
            }
            for outcome in outcomes
        ],
    }


def write(found: dict[str, Any], build: Path = BUILD) -> Path:
    """Writes it, making the folder."""
    build.mkdir(exist_ok=True)
    target = build / "chaos.json"
    target.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return target


def keep_evidence(outcome: Outcome, build: Path = BUILD) -> Path:
    """Logs, effects, journal, history of faults and the server's files of a run that failed."""
    target = build / "chaos" / f"{outcome.shape.name}-{outcome.seed.replace('/', '-')}"
    shutil.rmtree(target, ignore_errors=True)
    sockets = shutil.ignore_patterns("*.sock", "scratch")
    shutil.copytree(outcome.root, target, ignore=sockets, dirs_exist_ok=True)
    (target / "violations.txt").write_text(
        "".join(f"{v.kind}: {v.what}\n" for v in outcome.violations)
    )
    return target
