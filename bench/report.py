"""What a run found, as JSON for machines and as a Markdown page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.chart import chart
from bench.noise import Verdict, machine
from bench.ratios import TARGETS, ratios_of, view_of
from bench.roster import Peer
from bench.rows import Row, Table
from bench.server import engine
from orch import __version__

# fmt: off
TABLES: Final = (
    ("Throughput, no persistence", "none", ("enqueue_one", "enqueue_bulk", "drain_1", "drain_2", "drain_wait_1", "drain_wait_2")),
    ("Throughput, appendfsync always", "always", ("enqueue_one", "enqueue_bulk", "drain_1", "drain_2")),
    ("A job's cost (one worker, no-op)", "none", ("commands_per_job_1", "server_us_per_job_1", "server_us_per_job_2", "server_cpu_us_per_job_1", "client_cpu_us_per_job_1", "bytes_queued", "bytes_finished")),
    ("Latency, no persistence", "none", ("start_busy_p50", "start_busy_p99", "result_busy_p50", "result_busy_p99", "start_idle_p50", "start_idle_p99", "result_idle_p50", "start_backlog_p50", "requests_door_p50")),
    ("Latency, appendfsync always", "always", ("start_busy_p50", "start_busy_p99", "result_busy_p50", "result_busy_p99")),
    ("At rest, and after a kill -9 of a worker", "none", ("idle_commands_per_s", "idle_commands_per_actor_s", "idle_cpu_percent", "idle_server_cpu_percent", "recovery")),
    ("Backlog", "none", ("drain_at_1000", "drain_at_100000", "drain_at_1000000", "drain_past_1000000_canceled", "server_us_per_job_at_1000", "server_us_per_job_at_100000", "server_us_per_job_at_1000000")),
    ("HTTP and SSE", "none", ("http_submit", "sse_1000_watchers_last", "sse_1000_watchers_rate", "sse_1000_watchers_memory")),
    ("The front door under load, appendfsync always", "always", ("front_submit", "front_submit_p50", "front_batch_100", "front_refused", "front_refused_p50")),
    ("Raw floor, no persistence", "none", tuple(f"{what}_{batch}" for what in ("xadd", "read_ack", "call") for batch in (1, 10, 100))),
    ("Raw floor, appendfsync always", "always", tuple(f"{what}_{batch}" for what in ("xadd", "read_ack", "call") for batch in (1, 10, 100))),
)
# fmt: on


def document(
    peers: Sequence[Peer], rows: Sequence[Row], verdict: Verdict, *, kind: str, seconds: float
) -> dict[str, Any]:
    """The whole run, as INTERFACE names it: machine, versions, noisy, rows, ratios."""
    return {
        "machine": machine(),
        "versions": _versions(peers),
        "noisy": verdict.noisy,
        "noise": verdict.document(),
        "kind": kind,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "settings": {peer.name: peer.settings for peer in peers},
        "rows": [row.document() for row in rows],
        "ratios": ratios_of(view_of(Table(rows), peers)),
    }


def write(folder: Path, found: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """latest.json, latest.md and latest.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "latest.md").write_text(markdown(found, rows))
    (folder / "latest.svg").write_text(chart(rows))


def markdown(found: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The page."""
    parts = [_head(found), _ratio_table(found["ratios"])]
    table = Table(rows)
    parts += [_table(title, mode, measures, table) for title, mode, measures in TABLES]
    parts += [_notes(rows), _settings(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _versions(peers: Sequence[Peer]) -> dict[str, str]:
    found = {"orch": __version__, "server": engine().label}
    for peer in peers:
        found |= {f"{peer.folder.name}: {name}": pin for name, pin in peer.versions().items()}
    return found


def _head(found: Mapping[str, Any]) -> str:
    where = found["machine"]
    lines = [
        f"# Benchmark of {found['date']} ({found['kind']})",
        "",
        f"{where['cpus']} x {where['cpu']}, {where['memory_mib']} MiB, Linux {where['kernel']}.",
        f"Server: {found['versions']['server']}. Everything on one machine, in {found['seconds']} s.",
        "Values are medians, ± is half the spread of the repetitions; a dash was not measured.",
    ]
    if found["noisy"]:
        why = "; ".join(found["noise"]["reasons"])
        lines += ["", f"**The machine was too noisy to tell: {why}.** Take no ratio from this run."]
    return "\n".join(lines)


def _ratio_table(ratios: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["## Ratios", "", "| ratio | value | target | met |", "|---|---|---|---|"]
    for target in TARGETS:
        row = ratios.get(target.name)
        if row is None:
            continue
        wanted = f"{target.bound} {target.target:g}" if target.target is not None else ""
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        lines.append(f"| {target.says} (`{target.name}`) | {row['value']:.3g} | {wanted} | {met} |")
    return "\n".join(lines)


def _table(title: str, mode: str, measures: Sequence[str], table: Table) -> str:
    rows = {(row.peer, row.measure): row for row in table.rows if row.mode == mode}
    shown = [one for one in measures if any(m == one for _, m in rows)]
    peers = list(dict.fromkeys(p for p, m in rows if m in shown))
    if not shown:
        return ""
    units = {m: row.unit for (_, m), row in rows.items() if row.unit}
    names = [f"{m} [{units[m]}]" if m in units else m for m in shown]
    lines = [f"## {title}", "", f"| peer | {' | '.join(names)} |", "|---" * (len(shown) + 1) + "|"]
    for peer in peers:
        cells = [_cell(rows.get((peer, measure))) for measure in shown]
        lines.append(f"| {peer} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return "-"
    value = f"{row.value:,.0f}" if row.value >= 1_000 else f"{row.value:.3g}"
    return f"{value} ± {row.spread / 2:.0%}" if row.spread else value


def _notes(rows: Sequence[Row]) -> str:
    measures: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.note:
            told = " ".join(row.note.split())
            measures.setdefault((row.peer, row.mode, told), []).append(row.measure)
    lines = [f"- {p} ({mode}), {', '.join(m)}: {told}" for (p, mode, told), m in measures.items()]
    return "\n".join(["## Not measured, and why", "", *lines]) if lines else ""


def _settings(found: Mapping[str, Any]) -> str:
    lines = [f"- {name}: {text}" for name, text in found["settings"].items()]
    versions = ", ".join(f"{name} {pin}" for name, pin in found["versions"].items())
    return "\n".join(["## Settings and versions", "", *lines, "", versions + "."])
