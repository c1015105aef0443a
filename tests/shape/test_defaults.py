"""One truth for settings: whatever repeats a default, a bound, a unit or a name says what the contract says.

A changed value is planted into a copy of each place, and has to be found on its line with both values.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from contracts.defaults import DEFAULTS
from contracts.errors import Refused
from ops.configuration import BY_CHART, config_schema, configuration_page, limit_rows, values_schema
from ops.places import OTHERWISE, PLACES, PRINTED, SOURCE, drift, prose
from orch.cli.help import help_text
from orch.cli.main import build_app
from orch.cli.project import settings_example
from orch.settings import load_settings, settings_of
from orch.values import word_of
from tests.shape.pages import ROOT, pages


@cache
def texts() -> Mapping[str, str]:
    """What stands in each place."""
    files = {name: (ROOT / name).read_text(encoding="utf-8") for name in PLACES}
    printed = (settings_example(), help_text(build_app(), ["up", "--help"]))
    return {**files, **dict(zip(PRINTED, printed, strict=True))}


def faults_of(place: str, text: str) -> list[str]:
    read, whole = {**PLACES, **PRINTED}[place]
    return drift(place, text, read, whole=whole)


@pytest.mark.req("CFG-1")
@pytest.mark.parametrize("place", [*PLACES, *PRINTED])
def test_every_place_says_what_the_contract_says(place: str) -> None:
    assert faults_of(place, texts()[place]) == []


@pytest.mark.req("CFG-1")
@pytest.mark.parametrize("name", sorted(pages()))
def test_every_default_that_a_page_quotes_is_the_one_in_force(name: str) -> None:
    assert drift(name, pages()[name].text, prose) == []


PLANTED = [
    ("docs/configuration.md", "| `lease_ms` | `15000` |", "| `lease_ms` | `15001` |",
     "the default of lease_ms is '15001' here, '15000' in contracts/defaults.py"),
    ("docs/configuration.md", "ms | 1000 to 3600000 | `ORCH_LEASE_M", "s | 1000 to 3600000 | `ORCH_LEASE_M",
     "the unit of lease_ms is 's' here, 'ms' in contracts/defaults.py"),
    ("docs/configuration.md", "1000 to 3600000 | `ORCH_LEASE_MS`", "1000 to 3600001 | `ORCH_LEASE_MS`",
     "the maximum of lease_ms is '3600001' here, '3600000' in contracts/defaults.py"),
    ("docs/configuration.md", "`ORCH_LEASE_MS`", "`ORCH_LEESE_MS`",
     "the environment of lease_ms is 'ORCH_LEESE_MS' here, 'ORCH_LEASE_MS' in contracts/defaults.py"),
    ("docs/configuration.md", "fair or strict", "fair or rigid",
     "the choices of scheduling is 'fair,rigid' here, 'fair,strict' in contracts/defaults.py"),
    (".env.example", "# ORCH_CLASSES=interactive:8,batch:1", "# ORCH_CLASSES=interactive:9,batch:1",
     f"the default of classes is 'interactive:9,batch:1' here, 'interactive:8,batch:1' in {SOURCE}"),
    (".env.example", "# ORCH_SLOTS=16", "# ORCH_SLOTZ=16", "slotz is no setting of contracts/defaults.py"),
    ("contracts/schemas/v1/config.json", '"default": 15000', '"default": 15001',
     "the default of lease_ms is '15001' here, '15000' in contracts/defaults.py"),
    ("contracts/schemas/v1/config.json", '"minimum": 1000,', '"minimum": 1,',
     "the minimum of aging_ms is '1' here, '1000' in contracts/defaults.py"),
    ("contracts/schemas/v1/config.json", '"everysec",', '"everyday",',
     f"the choices of appendfsync is 'always,everyday,no' here, 'always,everysec,no' in {SOURCE}"),
    ("charts/orch/values.schema.json", '"default": 15000', '"default": 15001',
     "the default of lease_ms is '15001' here, '15000' in contracts/defaults.py"),
    ("charts/orch/values.schema.json", '"maximum": 1000,\n', '"maximum": 999,\n',
     "the maximum of slots is '999' here, '1000' in contracts/defaults.py"),
    ("charts/orch/values.yaml", "    slots: 16", "    slots: 17",
     "the default of slots is '17' here, '16' in contracts/defaults.py"),
    ("charts/orch/values.yaml", "jobsPerRunner: 16", "jobsPerRunner: 15",
     "the default of slots is '15' here, '16' in contracts/defaults.py"),
    ("charts/orch/values.yaml", "  auth: tokens", "  auth: none",
     "the default of auth is 'none' here, 'tokens' in ops/places.py (OTHERWISE)"),
    ("charts/orch/templates/_container.tpl", "default 16 .slots", "default 8 .slots",
     "the default of slots is '8' here, '16' in contracts/defaults.py"),
    ("charts/orch/templates/_helpers.tpl", '"orch.metricsPort" -}}9464', '"orch.metricsPort" -}}9465',
     "the default of metrics_port is '9465' here, '9464' in ops/places.py (OTHERWISE)"),
    ("charts/orch/templates/_helpers.tpl", '"grace_ms" 5000', '"grace_ms" 6000',
     "the default of grace_ms is '6000' here, '5000' in contracts/defaults.py"),
    ("charts/orch/templates/scaling.yaml", "default 16 .hpa.jobs", "default 8 .hpa.jobs",
     "the default of slots is '8' here, '16' in contracts/defaults.py"),
    ("charts/orch/values.yaml", "shard: 0", "shard: 1",
     "the default of shard is '1' here, '0' in contracts/defaults.py"),
    ("charts/orch/templates/_container.tpl", 'value: "0.0.0.0"', 'value: "127.0.0.1"',
     "the default of host is '127.0.0.1' here, '0.0.0.0' in ops/places.py (OTHERWISE)"),
    ("docker/Dockerfile", "ORCH_METRICS_PORT=9464", "ORCH_METRICS_PORT=9465",
     "the default of metrics_port is '9465' here, '9464' in ops/places.py (OTHERWISE)"),
    ("docker/compose.yaml", "${ORCH_SLOTS:-16}", "${ORCH_SLOTS:-8}",
     "the default of slots is '8' here, '16' in contracts/defaults.py"),
    ("docker/healthy", "ORCH_METRICS_PORT:-9464", "ORCH_METRICS_PORT:-9465",
     "the default of metrics_port is '9465' here, '9464' in ops/places.py (OTHERWISE)"),
    ("docker/prometheus.yaml", "port: 9464", "port: 9465",
     "the default of metrics_port is '9465' here, '9464' in ops/places.py (OTHERWISE)"),
    ("orch init: orch.toml", "# lease_ms = 15000", "# lease_ms = 15001",
     "the default of lease_ms is '15001' here, '15000' in contracts/defaults.py"),
    ("orch init: orch.toml", '# log_level = "info"', '# log_level = "debug"',
     "the default of log_level is 'debug' here, 'info' in contracts/defaults.py"),
    ("orch up --help", "15000;", "15001;",
     "the default of lease_ms is '15001' here, '15000' in contracts/defaults.py"),
]  # fmt: skip


@pytest.mark.req("CFG-1")
@pytest.mark.parametrize(("place", "was", "becomes", "fault"), PLANTED)
def test_a_changed_value_is_found_on_its_line_with_both_values(
    place: str, was: str, becomes: str, fault: str
) -> None:
    text = texts()[place]
    assert was in text
    planted = text.replace(was, becomes, 1)
    lines = zip(text.splitlines(), planted.splitlines(), strict=True)
    line = next(n for n, (old, new) in enumerate(lines, 1) if old != new)
    around = range(line - 3, line + 1)  # of a wrapped text or a list its first line counts
    assert [one for one in faults_of(place, planted) if "is missing" not in one] in [
        [f"{place}:{n}: {fault}"] for n in around
    ]


@pytest.mark.req("CFG-1")
def test_every_place_has_a_planted_change() -> None:
    assert {place for place, *_ in PLANTED} == {*PLACES, *PRINTED}
    assert {file for file, _ in OTHERWISE} <= set(PLACES)


@pytest.mark.req("CFG-1")
@pytest.mark.parametrize(
    "place", [name for name, (_, whole) in {**PLACES, **PRINTED}.items() if whole]
)
def test_a_setting_that_a_place_forgets_is_found(place: str) -> None:
    names = ("lease_ms", "LEASE_MS", "lease-ms")
    kept = texts()[place]
    for name in names:
        kept = kept.replace(name, name.replace("ase", "esa").replace("ASE", "ESA"))
    assert f"{place}: lease_ms is missing" in faults_of(place, kept)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [("the default `lease_ms` of 15,000:", True), ("the default `lease_ms` of 16,000:", False),
     ("`reload_drain_ms` (10 minutes)", True), ("`reload_drain_ms` (9 minutes)", False),
     ("`retention_ms` (three days)", True), ("`retention_ms` (four days)", False),
     ("`key_running_max` (1)", True), ("`key_running_max` (2), or", False),
     ("`full_policy` (`reject`)", True), ("`full_policy` (`drop-lru`)", False)],
)  # fmt: skip
def test_a_default_that_a_page_quotes_wrongly_is_found(text: str, is_right: bool) -> None:
    assert (drift("docs/planted.md", f"# A page\n\nBy {text} x\n", prose) == []) is is_right


# ---------------------------------------------------------------- the schema of the file

SCHEMA = Draft202012Validator(
    orjson.loads((ROOT / "contracts/schemas/v1/config.json").read_bytes())
)


@pytest.mark.req("CFG-1", "CON-1")
def test_the_file_that_init_writes_is_valid_with_every_line_in_force() -> None:
    lines = [line.removeprefix("# ") for line in settings_example().splitlines() if " = " in line]
    document = tomllib.loads("\n".join(lines))
    assert set(document) == set(DEFAULTS)
    assert list(SCHEMA.iter_errors(document)) == []
    assert settings_of(document).value("slots") == DEFAULTS["slots"].value


@pytest.mark.req("CFG-1", "CFG-2")
def test_every_default_of_the_page_can_be_copied_into_the_file_as_it_stands_there(
    tmp_path: Path,
) -> None:
    lists = {
        key: row for key, row in DEFAULTS.items() if isinstance(row.value, tuple) and row.value
    }
    assert "classes" in lists
    document = {key: word_of(row.value) for key, row in lists.items()}
    assert list(SCHEMA.iter_errors(document)) == []
    file = tmp_path / "orch.toml"
    file.write_text("".join(f"{key} = {json.dumps(text)}\n" for key, text in document.items()))
    loaded = load_settings(config=file, home=tmp_path / "home", environ={})
    assert {key: loaded.value(key) for key in lists} == {k: row.value for k, row in lists.items()}


@pytest.mark.req("CFG-2", "CON-1")
@pytest.mark.parametrize(
    "document",
    [{"slot": 1}, {"slots": 0}, {"slots": 1001}, {"slots": "many"}, {"slots": 1.5}, {"slots": True},
     {"pools": 1}, {"pools": ["a", "a"]}, {"pools": [1]}, {"log_level": "loud"}, {"plaintext": "yes"},
     {"pool": "../etc"}, {"http_env_allowed": [f"V{n}" for n in range(65)]}, {"redis_url": ""}, {"host": 1}],
    ids=str,
)  # fmt: skip
def test_what_the_schema_refuses_is_refused_when_it_is_loaded(
    document: dict[str, Any], tmp_path: Path
) -> None:
    assert list(SCHEMA.iter_errors(document))
    file = tmp_path / "orch.toml"
    (written,) = (f"{key} = {json.dumps(value)}\n" for key, value in document.items())
    file.write_text(written)
    with pytest.raises(Refused, match=next(iter(document))):
        load_settings(config=file, home=tmp_path / "home", environ={})


@pytest.mark.req("CFG-1", "DEP-1")
def test_the_chart_takes_every_setting_that_it_does_not_make_itself() -> None:
    schema = orjson.loads((ROOT / "charts/orch/values.schema.json").read_bytes())
    assert set(schema["properties"]["settings"]["properties"]) == set(DEFAULTS) - set(BY_CHART)
    judge = Draft202012Validator(schema)
    for settings in ({"slots": 5}, {"lease_ms": 5}, {"log_level": "loud"}, {"laese_ms": 5_000}):
        assert list(judge.iter_errors({"settings": settings})), settings
    assert list(judge.iter_errors({"settings": {"lease_ms": 5_000, "pools": ["a"]}})) == []


@pytest.mark.req("CFG-1", "CFG-2")
def test_an_old_name_stands_on_the_page_and_in_both_schemas_as_deprecated() -> None:
    old = {"quiet_ms": "lease_ms"}
    assert "| `quiet_ms` | `lease_ms` |" in configuration_page(old)
    chart = values_schema(ROOT / "charts/orch/values.schema.json", old)
    taken = orjson.loads(chart)["properties"]["settings"], orjson.loads(config_schema(old))
    for schema in taken:
        judge = Draft202012Validator(schema)
        assert list(judge.iter_errors({"quiet_ms": 5_000})) == []
        assert list(judge.iter_errors({"quiet_ms": 5}))
        assert schema["properties"]["quiet_ms"]["deprecated"]
    read, whole = PLACES["contracts/schemas/v1/config.json"]
    assert drift("x", config_schema(old), read, whole=whole, renamed=old) == []
    assert len(drift("x", config_schema(old), read, whole=whole)) == 3


@pytest.mark.req("CFG-1")
def test_the_page_lists_every_bound_with_its_value() -> None:
    table = pages()["docs/configuration.md"].text.partition("## Bounds")[2]
    rows = list(limit_rows())
    assert len(rows) > 100
    assert [
        f"| `{name}` | {value:,} |"
        for name, value, _ in rows
        if f"| `{name}` | {value:,} |" not in table
    ] == []
