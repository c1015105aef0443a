"""The bill of materials: every locked package with its hashes, as CycloneDX 1.6, and twice the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ops.release import ROOT
from ops.release.licences import Policy, policy
from ops.release.locked import Locked, installed, locked
from ops.release.sbom import document, text_of

SECONDS = 1_760_000_000
PROGRAM = f"""
from ops.release.licences import policy
from ops.release.locked import installed, locked
from ops.release.sbom import document, text_of
print(text_of(document(locked(), installed(), policy(), seconds={SECONDS})), end="")
"""

# What of CycloneDX 1.6 we use, stricter than its own schema: no other key, nothing left out.
TEXT = {"type": "string", "minLength": 1}
SAID = {"enum": ["declared", "concluded"]}
ID = {"type": "string", "pattern": r"^[A-Za-z0-9.-]+$"}
LICENCES = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": {
        "oneOf": [
            {
                "type": "object",
                "properties": {
                    "license": {
                        "type": "object",
                        "properties": {"id": ID, "acknowledgement": SAID},
                        "required": ["id", "acknowledgement"],
                        "additionalProperties": False,
                    }
                },
                "required": ["license"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "expression": {"type": "string", "pattern": " (AND|OR|WITH) "},
                    "acknowledgement": SAID,
                },
                "required": ["expression", "acknowledgement"],
                "additionalProperties": False,
            },
        ]
    },
}
PROPERTIES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": {"pattern": "^orch:[a-z]+$"}, "value": TEXT},
        "required": ["name", "value"],
        "additionalProperties": False,
    },
}
PURL = {"type": "string", "pattern": r"^pkg:pypi/[a-z0-9]+(-[a-z0-9]+)*@[A-Za-z0-9.%]+$"}
COMPONENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"const": "library"},
        "bom-ref": PURL,
        "name": TEXT,
        "version": TEXT,
        "hashes": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "type": "object",
                "properties": {
                    "alg": {"const": "SHA-256"},
                    "content": {"type": "string", "pattern": "^[a-f0-9]{64}$"},
                },
                "required": ["alg", "content"],
                "additionalProperties": False,
            },
        },
        "licenses": LICENCES,
        "purl": PURL,
        "properties": PROPERTIES,
    },
    "required": ["type", "bom-ref", "name", "version", "hashes", "licenses", "purl"],
    "additionalProperties": False,
}
SHAPE = {
    "type": "object",
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {
            "type": "string",
            "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        },
        "version": {"const": 1},
        "metadata": {
            "type": "object",
            "properties": {
                "timestamp": {"const": "2025-10-09T08:53:20Z"},
                "lifecycles": {"const": [{"phase": "build"}]},
                "component": {
                    "type": "object",
                    "properties": {
                        **COMPONENT["properties"],
                        "type": {"const": "application"},
                        "bom-ref": {"pattern": "^pkg:generic/orch@"},
                        "purl": {"pattern": "^pkg:generic/orch@"},
                        "description": TEXT,
                    },
                    "required": ["type", "bom-ref", "name", "version", "licenses", "purl"],
                    "additionalProperties": False,
                },
                "properties": PROPERTIES,
            },
            "required": ["timestamp", "lifecycles", "component", "properties"],
            "additionalProperties": False,
        },
        "components": {"type": "array", "uniqueItems": True, "items": COMPONENT},
        "dependencies": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"ref": TEXT, "dependsOn": {"type": "array", "uniqueItems": True}},
                "required": ["ref", "dependsOn"],
                "additionalProperties": False,
            },
        },
    },
    "required": [
        "$schema",
        "bomFormat",
        "specVersion",
        "serialNumber",
        "version",
        "metadata",
        "components",
        "dependencies",
    ],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def bom() -> dict[str, Any]:
    return document(locked(), installed(), policy(), seconds=SECONDS)


def in_the_lock() -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and hashes of each entry, read by other means than the program's."""
    name, version, hashes = "", "", list[str]()
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if found := re.match(r"([a-z0-9-]+)==(\S+)", line):
            if name:
                yield name, version, sorted(hashes)
            name, version, hashes = found[1], found[2], []
        elif found := re.match(r"    --hash=sha256:([0-9a-f]{64})", line):
            hashes.append(found[1])
    yield name, version, sorted(hashes)


@pytest.mark.req("REL-1")
def test_every_locked_package_is_in_it_with_its_version_and_hashes(bom: dict[str, Any]) -> None:
    listed = [
        (one["name"], one["version"], [digest["content"] for digest in one["hashes"]])
        for one in bom["components"]
    ]
    wanted = list(in_the_lock())
    assert len(wanted) > 30
    assert listed == sorted(wanted)
    lines = (ROOT / "requirements.lock").read_text().count("--hash=sha256:")
    assert sum(len(hashes) for _, _, hashes in listed) == lines


@pytest.mark.req("REL-1")
def test_it_has_the_shape_of_cyclonedx(bom: dict[str, Any]) -> None:
    assert [one.message for one in Draft202012Validator(SHAPE).iter_errors(bom)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bom: bom["components"][0].pop("hashes"),
        lambda bom: bom["components"][0].pop("licenses"),
        lambda bom: bom["components"][0]["hashes"].clear(),
        lambda bom: bom["components"][0].update(extra=1),
        lambda bom: bom.update(serialNumber="urn:uuid:0"),
        lambda bom: bom["metadata"].update(timestamp="2025-10-09"),
    ],
    ids=["no hashes", "no licence", "empty hashes", "another key", "no serial", "half a time"],
)
def test_another_shape_is_noticed(bom: dict[str, Any], spoil: Any) -> None:
    spoiled = json.loads(json.dumps(bom))
    spoil(spoiled)
    assert list(Draft202012Validator(SHAPE).iter_errors(spoiled))


@pytest.mark.req("REL-1")
def test_everything_in_it_is_asked_for_by_something_that_orch_asks_for(bom: dict[str, Any]) -> None:
    asks = {one["ref"]: one["dependsOn"] for one in bom["dependencies"]}
    assert len(asks) == len(bom["dependencies"])
    ahead, reached = [bom["metadata"]["component"]["bom-ref"]], set[str]()
    while ahead:
        ref = ahead.pop()
        if ref not in reached:
            reached.add(ref)
            ahead += asks[ref]
    assert reached == set(asks)
    assert set(asks) - {one["bom-ref"] for one in bom["components"]} == {
        bom["metadata"]["component"]["bom-ref"]
    }


@pytest.mark.req("REL-1")
def test_another_process_writes_the_same_bytes(bom: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == text_of(bom)


@pytest.mark.req("REL-1")
def test_the_serial_number_follows_the_content(bom: dict[str, Any]) -> None:
    later = document(locked(), installed(), policy(), seconds=SECONDS + 1)
    fewer = document(locked()[1:], installed(), policy(), seconds=SECONDS)
    serials = {one["serialNumber"] for one in (bom, later, fewer)}
    assert len(serials) == 3
    same = {key for key in bom if bom[key] == later[key]}
    assert set(bom) - same == {"serialNumber", "metadata"}


@pytest.mark.req("REL-1")
def test_a_licence_that_nobody_knows_is_left_out_and_one_that_we_read_is_a_conclusion(
    tmp_path: Path,
) -> None:
    rows = {"b": {"version": "1", "licence": "MIT OR ISC", "why": "its licence file says so"}}
    rules = Policy.model_validate({"allowed": [], "stated": rows})
    shipped = [Locked(name, "1", "", ("0" * 64,)) for name in "ab"]
    found = document(shipped, installed([str(tmp_path)]), rules, seconds=SECONDS)["components"]
    assert [one.get("licenses") for one in found] == [
        None,
        [{"expression": "MIT OR ISC", "acknowledgement": "concluded"}],
    ]
