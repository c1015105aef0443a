"""How do plain rows of panels become a dashboard's JSON?

Grafana's classic model: versions 10 to 12 read it as it is, 13 migrates it on load. A panel's id comes out of
its title, so that links to it last while panels around it move; places come out of their order.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

SCHEMA_VERSION: Final = 41
"""Of Grafana 12."""
COLUMNS: Final = 24
ROW_HEIGHT: Final = 1
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_METRIC: Final = re.compile(r"(?<![\w$])((?:orch|process)_[a-z0-9_]+)(\{)?")
_MATCHER: Final = 'job=~"$job"'

Kind = Literal["timeseries", "stat", "heatmap"]
Step = tuple[str, float | None]
"""A color, and from which value on it is shown; None is the base."""

GOOD_AT_ZERO: Final[tuple[Step, ...]] = (("green", None), ("red", 1))
WARN_ABOVE_ZERO: Final[tuple[Step, ...]] = (("green", None), ("orange", 1))


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called; `{{pool}}` is a label's value.

    `$pool` and `$job` are patterns, so they stand behind `=~`. The matcher of `$job` is put in for each metric."""

    text: str
    legend: str

    @property
    def expr(self) -> str:
        """With the matcher that tells one installation from another."""

        def with_job(found: re.Match[str]) -> str:
            return f"{found[1]}{{{_MATCHER}" + (", " if found[2] else "}")

        return _METRIC.sub(with_job, self.text)


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `about` says what an operator reads from it, and what to do."""

    title: str
    unit: str
    """Of Grafana: s, short, percentunit, reqps, bytes, or `suffix: jobs/s`."""
    about: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    steps: tuple[Step, ...] = (("green", None),)
    stacked: bool = False
    decimals: int | None = None
    width: int = 8
    height: int = 8

    @property
    def panel_id(self) -> int:
        """Of its title: the same wherever it stands."""
        return 1 + zlib.crc32(self.title.encode()) % 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of rows."""

    name: str
    """The file is `name.json`, the address ends in `orch-name`."""
    title: str
    about: str
    rows: tuple[Row, ...]

    def panels(self) -> Iterator[Panel]:
        """All of them, in order."""
        for row in self.rows:
            yield from row.panels

    def document(self) -> dict[str, Any]:
        """As Grafana stores it."""
        return {
            "uid": f"orch-{self.name}",
            "title": f"Orch / {self.title}",
            "description": self.about,
            "tags": ["orch"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": []},
            "links": [_LINKS],
            "templating": {"list": [_DATASOURCES, _variable("job", _JOBS), _variable("pool", _POOLS)]},
            "panels": list(_placed(self.rows)),
        }  # fmt: skip


_LINKS: Final = {
    "type": "dashboards",
    "title": "Orch",
    "tags": ["orch"],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
}
_DATASOURCES: Final = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "hide": 0,
    "refresh": 1,
}
_JOBS: Final = ("Installation", "label_values(orch_build_info, job)")
_POOLS: Final = ("Pool", "label_values(orch_cluster_slots, pool)")


def _variable(name: str, said: tuple[str, str]) -> dict[str, Any]:
    """Any number of a label's values, at first all of them; asked again when the time changes."""
    label, query = said
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "Variable"},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """From the left to the right, and down: a panel that does not fit begins a new line."""
    top = 0
    for row in rows:
        yield _row(row, top)
        top += ROW_HEIGHT
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel, place)
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _row(row: Row, top: int) -> dict[str, Any]:
    return {
        "id": 2_000_000 + zlib.crc32(row.title.encode()) % 1_000_000,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"h": ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": top},
        "panels": [],
    }


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": panel.panel_id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "targets": [_target(panel, n, one) for n, one in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, number: int, query: Query) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": True,
        "instant": False,
        "exemplar": panel.kind == "timeseries" and "_bucket" in query.expr,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = [{"color": color, "value": value} for color, value in panel.steps]
    shown: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.decimals is not None:
        shown["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        shown["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if len(panel.steps) > 1 else "off"},
        }
    return shown


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "textMode": "auto",
        }
    if panel.kind == "heatmap":
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "cellGap": 1,
            "yAxis": {"unit": panel.unit},
            "tooltip": {"mode": "single", "yHistogram": False},
            "legend": {"show": True},
        }
    return {
        "legend": {"showLegend": True, "displayMode": "table", "placement": "bottom",
                   "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }  # fmt: skip


def stat(
    title: str, unit: str, about: str, text: str, *, steps: tuple[Step, ...] = (("green", None),),
    width: int = 4, decimals: int | None = None,
) -> Panel:  # fmt: skip
    """One number."""
    queries = (Query(text, title),)
    return Panel(
        title, unit, about, queries, "stat", steps, width=width, height=4, decimals=decimals
    )


def quantiles(
    metric: str, by: str, legend: str, *shares: float, where: str = ""
) -> tuple[Query, ...]:
    """Of a histogram; `by` is labels besides `le`, `where` is matchers. Where nothing came there is no value:
    of nothing the quantile is no number, which `>= 0` leaves out."""
    labels = f"le, {by}" if by else "le"
    inside = f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    inside = inside.replace("{}", "")
    return tuple(
        Query(f"histogram_quantile({share:g}, {inside}) >= 0", f"p{share * 100:g} {legend}".strip())
        for share in shares
    )
