"""All checks of metrics, in the order in which one would mend them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orch.lint import asked, contract, exposition, promtool, sites
from orch.lint.document import PATH
from orch.lint.fault import Fault, Report
from orch.lint.queries import Query, Unreadable, queries_below, users_below

_NO_SCRAPE: Final = "no process was looked at: give --live or --scrape"


def lint_metrics(root: Path, scrapes: Mapping[str, str], *, is_whole: bool = False) -> Report:
    """Checks metrics.lint.json below `root` against code, queries and `scrapes` (texts by a name);
    `is_whole` says that these are of one process of every role."""
    try:
        document: Any = json.loads((root / PATH).read_bytes())
        queries, users = queries_below(root), users_below(root)
    except FileNotFoundError:
        fault = Fault("shape", PATH, "there is none", "Run it in a checkout, or give --root.")
        return Report([fault], {})
    except (Unreadable, ValueError) as error:
        return Report([Fault("shape", PATH, f"cannot be read: {error}", "Mend the file.")], {})
    faults = list(contract.faults_of(document, users))
    skipped: list[str] = []
    if not any(fault.rule == "shape" for fault in faults):
        faults += sites.faults_of(document, root)
        faults += asked.faults_of(document, queries)
        faults += exposition.faults_of(document, scrapes, is_whole=is_whole)
    faults += _by_others(root, queries, scrapes, skipped)
    if not scrapes:
        skipped.append(_NO_SCRAPE)
    counted = {
        "metrics": len(document.get("metrics", ())),
        "queries": len(queries),
        "scrapes": len(scrapes),
    }
    return Report(faults, counted, skipped)


def _by_others(
    root: Path, queries: list[Query], scrapes: Mapping[str, str], skipped: list[str]
) -> list[Fault]:
    faults: list[Fault] = []
    if promtool.is_there():
        faults += promtool.metrics_faults(scrapes)
        faults += promtool.rules_faults(root)
        faults += promtool.query_faults(queries)
    elif scrapes or queries:
        what = f"its lint of {len(scrapes)} scrapes, and the grammar of {len(queries)} queries"
        skipped.append(f"promtool is not installed ({promtool.HOW_TO_GET}): {what}")
    return faults
