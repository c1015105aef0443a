"""What Prometheus's own tool says, where it is installed: of scrapes, of rules, of the grammar of queries."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from orch.lint.fault import Fault
from orch.lint.promql import plain
from orch.lint.queries import RULES, Query

PROGRAM: Final = "promtool"
HOW_TO_GET: Final = "it comes with the Debian package prometheus"
_TIMEOUT_S: Final = 30


def is_there() -> bool:
    """Whether promtool is on PATH."""
    return shutil.which(PROGRAM) is not None


def metrics_faults(scrapes: Mapping[str, str]) -> Iterator[Fault]:
    """`promtool check metrics` of each scrape."""
    for part, text in scrapes.items():
        for line in _said("check", "metrics", text=text):
            name, _, message = line.partition(" ")
            fix = "Change its row in contracts/metrics.py as it says."
            yield Fault("promtool", f"{part} {name}", message, fix)


def rules_faults(root: Path) -> Iterator[Fault]:
    """`promtool check rules` of the rules file, where there is one."""
    path = root / RULES
    if path.is_file():
        said = _said("check", "rules", str(path))
        if said:
            yield Fault("promtool", RULES, " ".join(said)[:500], "Mend the rule that it names.")


def _said(*words: str, text: str | None = None) -> list[str]:
    """The lines of a complaint; none when all is well."""
    done = subprocess.run(
        [PROGRAM, *words], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )  # fmt: skip
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("Checking ")] or [
        f"exit {done.returncode}"
    ]


def query_faults(queries: Sequence[Query]) -> Iterator[Fault]:
    """Queries that are no PromQL."""
    # All at once: nearly always all are good.
    if queries and _grammar([plain(query.text) for query in queries]):
        for query in queries:
            message = _grammar([plain(query.text)])
            if message:
                yield Fault("query", query.where, f"is no PromQL: {message}", f"Mend: {query.text}")


def _grammar(texts: Sequence[str]) -> str:
    # As recording rules: the only door of promtool to a bare query. JSON is YAML.
    rules = [{"record": f"lint:query:{n}", "expr": text} for n, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.yaml"
        path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
        return " ".join(_said("check", "rules", str(path)))[:500]
