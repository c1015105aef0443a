"""Generated files are current: what `make generate` would write stands there already."""

from __future__ import annotations

import re
import subprocess
import sys

import jsonschema
import orjson
import pytest
from openapi_spec_validator import validate

from ops.generate import ROOT, generated, stale

FILES = dict(generated())
SAYS_SO = re.compile(r"[Ww]ritten by\s+`make generate`")


@pytest.mark.req("CON-3", "CFG-1", "EVT-1", "DOC-1")
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_generated_file_is_what_its_source_says(name: str) -> None:
    found = (ROOT / name).read_text(encoding="utf-8")
    assert stale(name, found, FILES[name]()) is None


@pytest.mark.req("DOC-1")
def test_a_second_generation_in_another_process_changes_nothing() -> None:
    words = [sys.executable, "-m", "ops.generate", "--check"]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONHASHSEED": "7"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.req("DOC-1")
def test_every_file_that_says_it_is_generated_is() -> None:
    patterns = ("*.md", "*.json", ".env.example", "docs/**/*.md", "contracts/**/*", "orch/**/*.lua")
    paths = {path for pattern in patterns for path in ROOT.glob(pattern) if path.suffix != ".pyc"}
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in paths
        if path.is_file()
    }
    saying = {name for name, text in texts.items() if SAYS_SO.search(text[:2_000])}
    assert saying >= {"COMPLIANCE.md", "contracts/events.md", "docs/errors.md", ".env.example"}
    assert saying - {"docs/development.md"} <= set(FILES)
    schemas = {name for name in texts if name.startswith("contracts/schemas/")}
    assert schemas <= set(FILES)


@pytest.mark.req("DOC-1", "CFG-1")
@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ("a\nb\nc\n", None),
        ("a\nB\nc\n", "page.md:2: 'B' here, 'b' by its source: run `make generate`"),
        ("a\nb\n", "page.md:3: nothing here, 'c' by its source: run `make generate`"),
        ("a\nb\nc\nd\n", "page.md:4: 'd' here, nothing by its source: run `make generate`"),
        ("a\nb\nc", "page.md: other line ends: run `make generate`"),
    ],
)
def test_a_stale_file_is_told_by_line_with_both_texts(found: str, fault: str | None) -> None:
    assert stale("page.md", found, "a\nb\nc\n") == fault


@pytest.mark.req("CON-1")
@pytest.mark.parametrize("name", sorted(name for name in FILES if "schemas/" in name))
def test_a_schema_is_valid_draft_2020_12(name: str) -> None:
    schema = orjson.loads((ROOT / name).read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


@pytest.mark.req("API-2")
def test_the_openapi_document_is_valid() -> None:
    validate(orjson.loads((ROOT / "contracts/openapi.json").read_bytes()))
