"""`python -m ops.release.sbom`: dist/orch.cdx.json, what is inside Orch, as CycloneDX 1.6.

Every package of requirements.lock with its version, hashes, package URL and licence, and who asks for whom.
The same commit gives the same bytes: sorted, no time but the commit's, and a serial number drawn from the
content. Ours is no package of an index, so its package URL is a generic one: a scanner would otherwise take
somebody else's package of that name for it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.files import write_atomically
from ops.release import DIST, ROOT, ended
from ops.release.commit import epoch
from ops.release.licences import Licence, Policy, licence_of, policy
from ops.release.locked import Locked, installed, locked, needs
from orch import __version__

NAME: Final = "orch.cdx.json"
_OURS: Final = f"pkg:generic/orch@{__version__}"
_EVERY_FILE: Final = "orch:hashes"


def document(
    shipped: list[Locked], found: Mapping[str, Distribution], rules: Policy, *, seconds: int
) -> dict[str, Any]:
    """The whole document; `seconds` is its time."""
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": _metadata(seconds),
        "components": [
            _component(one, licence_of(one, found.get(one.name), rules)) for one in shipped
        ],
        "dependencies": _dependencies(shipped, found),
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "serialNumber": _serial(body),
        **body,
    }


def text_of(bom: Mapping[str, Any]) -> str:
    """The file."""
    return json.dumps(bom, indent=2, ensure_ascii=False) + "\n"


def _metadata(seconds: int) -> dict[str, Any]:
    project = _project()
    return {
        "timestamp": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycles": [{"phase": "build"}],
        "component": {
            "type": "application",
            "bom-ref": _OURS,
            "name": project["name"],
            "version": __version__,
            "description": project["description"],
            "licenses": [{"license": {"id": project["license"], "acknowledgement": "declared"}}],
            "purl": _OURS,
        },
        "properties": [
            {"name": _EVERY_FILE, "value": "of every file of that version that may be installed"}
        ],
    }


def _component(one: Locked, licence: Licence) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "hashes": [{"alg": "SHA-256", "content": content} for content in one.hashes],
    }
    if licence.expression is not None:
        body["licenses"] = [_licence(licence.expression, licence.is_stated)]
    body["purl"] = one.purl
    if one.marker:
        body["properties"] = [{"name": "orch:marker", "value": one.marker}]
    return body


def _licence(expression: str, is_stated: bool) -> dict[str, Any]:
    """One id is a licence, more is an expression; what we have read ourselves is a conclusion."""
    said = {"acknowledgement": "concluded" if is_stated else "declared"}
    if " " in expression or expression.startswith("LicenseRef-"):
        return {"expression": expression, **said}
    return {"license": {"id": expression, **said}}


def _dependencies(shipped: list[Locked], found: Mapping[str, Distribution]) -> list[dict[str, Any]]:
    """Who asks for whom, among what is shipped, whatever the platform."""
    refs = {one.name: one.purl for one in shipped}
    asked = {str(canonicalize_name(Requirement(text).name)) for text in _project()["dependencies"]}
    rows = [(_OURS, sorted(asked))]
    for one in shipped:
        here = found.get(one.name)
        rows.append((one.purl, needs(here) if here and here.version == one.version else []))
    return [
        {"ref": ref, "dependsOn": [refs[name] for name in names if name in refs]}
        for ref, names in rows
    ]


def _project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project


def _serial(body: Mapping[str, Any]) -> str:
    """A UUID of version 8: 122 bits of the content's hash."""
    packed = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    bits = list(hashlib.sha256(packed.encode()).hexdigest()[:32])
    bits[12] = "8"
    bits[16] = "89ab"[int(bits[16], 16) % 4]
    word = "".join(bits)
    return f"urn:uuid:{word[:8]}-{word[8:12]}-{word[12:16]}-{word[16:20]}-{word[20:]}"


def _act() -> None:
    bom = document(locked(), installed(), policy(), seconds=epoch())
    write_atomically(DIST / NAME, text_of(bom))
    sys.stdout.write(f"dist/{NAME}: {len(bom['components'])} packages\n")


if __name__ == "__main__":
    sys.exit(ended(_act))
