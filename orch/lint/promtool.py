"""What Prometheus's own tool says, and a parser of PromQL, where they are installed."""

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


def parser() -> str | None:
    """What can judge a query: the Python parser, else promtool; None when neither is there."""
    try:
        import promql_parser  # type: ignore[import-not-found,unused-ignore]  # noqa: F401,PLC0415
    except ImportError:
        return PROGRAM if is_there() else None
    return "promql-parser"


def query_faults(queries: Sequence[Query]) -> Iterator[Fault]:
    """Queries that are no PromQL; needs `parser()`."""
    judge = _by_parser if parser() == "promql-parser" else _by_promtool
    # All at once: nearly always all are good.
    if judge([plain(query.text) for query in queries]):
        for query in queries:
            message = judge([plain(query.text)])
            if message:
                yield Fault("query", query.where, f"is no PromQL: {message}", f"Mend: {query.text}")


def _by_parser(texts: Sequence[str]) -> str:
    import promql_parser  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    for text in texts:
        try:
            promql_parser.parse(text)
        except ValueError as error:
            return str(error)
    return ""


def _by_promtool(texts: Sequence[str]) -> str:
    # As recording rules: the only door of promtool to a bare query. JSON is YAML.
    rules = [{"record": f"lint:query:{n}", "expr": text} for n, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.yaml"
        path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
        return " ".join(_said("check", "rules", str(path)))[:500]
