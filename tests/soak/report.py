"""What a soak says at the end: a table, why it proves too little if it does, and build/soak.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from contracts.limits import MINUTE_MS
from tests.chaos.report import BUILD
from tests.soak.judge import CEILINGS, UNJUDGED, Row, too_few
from tests.soak.load import SHARES
from tests.soak.run import RETENTION_MS, Result


def table(rows: Sequence[Row]) -> str:
    """For the terminal: each measure in the second and the last quarter."""
    lines = [f"{'measure':28}{'second':>12}{'last':>12}{'ratio':>8}  {'may grow':18}"]
    for row in rows:
        may = "not judged"
        if row.measure in CEILINGS:
            may = f"up to {CEILINGS[row.measure]:,}"
        elif row.bound is not None:
            may = f"x {row.bound.ratio:g} or + {row.bound.slack:g}"
        grew = "GREW" if row.grew else ""
        lines.append(
            f"{row.measure:28}{row.second:>12.1f}{row.last:>12.1f}{row.ratio:>8.2f}  {may:18}{grew}".rstrip()
        )
    return "\n".join(lines)


def too_little(result: Result) -> Iterator[str]:
    """Why the run proves less than it seems to."""
    if too_few(result.samples):
        yield f"{len(result.samples)} samples are too few to judge growth"
    missing = SHARES.keys() - result.books.judged.keys()
    if missing:
        yield f"no job of these kinds came to its end: {', '.join(sorted(missing))}"
    if not result.removed and result.plan.seconds * 1_000 > RETENTION_MS + 2 * MINUTE_MS:
        yield "retention removed nothing"
    if not result.hooked:
        yield "no webhook was delivered"
    if result.books.unseen:
        yield f"{result.books.unseen} jobs came and went while this program stood still"


def document(result: Result, rows: Sequence[Row]) -> dict[str, Any]:
    """build/soak.json."""
    books = result.books
    return {
        "minutes": result.plan.seconds / 60,
        "jobs_per_s": result.plan.jobs_per_s,
        "seed": result.plan.seed,
        "rows": [
            {
                "measure": row.measure,
                "second": row.second,
                "last": row.last,
                "ratio": row.ratio if row.second else None,
                "ratio_max": row.bound and row.bound.ratio,
                "slack": row.bound and row.bound.slack,
                "why": row.bound.why if row.bound else _unjudged(row.measure),
                "grew": row.grew,
            }
            for row in rows
        ],
        "jobs": dict(books.judged),
        "ends": dict(books.ends),
        "counts": dict(books.counts),
        "fired": result.fired,
        "removed": result.removed,
        "webhooks": result.hooked,
        "violations": [[one.kind, one.what] for one in result.violations],
        "too_little": list(too_little(result)),
        "samples": result.samples,
    }


def _unjudged(measure: str) -> str:
    return UNJUDGED.get(measure) or UNJUDGED[measure.partition(":")[0]]


def write(found: dict[str, Any], build: Path = BUILD) -> Path:
    """Writes it, making the folder."""
    build.mkdir(exist_ok=True)
    target = build / "soak.json"
    target.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return target
