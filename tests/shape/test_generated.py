"""Generated files are current: what `make generate` would write stands there already."""

from __future__ import annotations

from collections.abc import Callable

import jsonschema
import orjson
import pytest
from openapi_spec_validator import validate

from ops.generate import ROOT, generated

FILES = dict(generated())


@pytest.mark.req("CON-3", "CFG-1", "EVT-1")
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_generated_file_is_what_its_source_says(name: str) -> None:
    make: Callable[[], str] = FILES[name]
    assert (ROOT / name).read_text(encoding="utf-8") == make(), (
        f"{name} is stale: run `make generate`"
    )


@pytest.mark.req("CON-1")
@pytest.mark.parametrize("name", sorted(name for name in FILES if "schemas/" in name))
def test_a_schema_is_valid_draft_2020_12(name: str) -> None:
    schema = orjson.loads((ROOT / name).read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


@pytest.mark.req("API-2")
def test_the_openapi_document_is_valid() -> None:
    validate(orjson.loads((ROOT / "contracts/openapi.json").read_bytes()))
