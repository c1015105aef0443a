"""What a production doctor says of the gateway's door, the files and the bounds of the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from contracts.limits import DISK_FREE_BYTES_MIN, MIB
from orch.core.findings import Finding, failing, finding_of, report, warning, well
from orch.core.premises import Seen, judge_premises
from orch.settings import settings_of

SEEN: Final = Seen(
    home="/h", home_mode=0o700, secret_modes={"/h/endpoint.json": 0o600},
    free_bytes=100 * DISK_FREE_BYTES_MIN, disk_bytes=200 * DISK_FREE_BYTES_MIN,
    files_max=100_000, files_wanted=128, retention_origin="/h/orch.toml", has_own_server=True,
)  # fmt: skip
GOOD: Final[dict[str, Any]] = {"auth": "tokens"}
WIDE: Final[dict[str, Any]] = {**GOOD, "host": "0.0.0.0", "plaintext": True}


def judged(values: dict[str, Any], **seen: Any) -> dict[str, Finding]:
    found = judge_premises(settings_of(values), replace(SEEN, **seen))
    return {one.name: one for one in found}


@pytest.mark.req("CLI-3")
def test_a_place_that_is_as_it_should_be_is_well() -> None:
    assert {one.severity for one in judged(GOOD).values()} == {"ok"}


FAULTS: Final[list[tuple[str, dict[str, Any], dict[str, Any], str, str]]] = [
    ("callers", {}, {}, "fail", "auth = tokens"),
    ("listener", WIDE, {}, "warn", "tls_cert and tls_key"),
    ("metrics", {**GOOD, "metrics_host": "0.0.0.0"}, {}, "warn", "NetworkPolicy"),
    ("home rights", GOOD, {"home_mode": 0o750}, "fail", "chmod 700 /h"),
    ("secret files", GOOD, {"secret_modes": {"/a": 0o600, "/k": 0o644}}, "fail", "chmod 600 /k"),
    ("secret files", GOOD, {"secret_modes": {"/k": 0o660}}, "fail", "chmod 600 /k"),
    ("retention", GOOD, {"retention_origin": "default"}, "warn", "retention_ms"),
    ("disk", GOOD, {"free_bytes": DISK_FREE_BYTES_MIN - 1}, "fail", "room"),
    ("disk", GOOD, {"free_bytes": 19 * DISK_FREE_BYTES_MIN}, "warn", "room"),
    ("files", GOOD, {"files_max": 4_096}, "warn", "ulimit -n 4224"),
    ("server choice", GOOD, {"has_own_server": False}, "warn", "redis_url"),
]


@pytest.mark.req("CLI-3")
@pytest.mark.parametrize(("name", "values", "seen", "severity", "fix"), FAULTS)
def test_each_fault_is_the_only_one_and_has_a_fix(
    name: str, values: dict[str, Any], seen: dict[str, Any], severity: str, fix: str
) -> None:
    found = judged(values, **seen)
    assert {one.name for one in found.values() if one.severity != "ok"} == {name}
    assert found[name].severity == severity
    assert fix in found[name].fix


@pytest.mark.req("CLI-3")
def test_a_key_that_the_group_may_read_is_how_clusters_mount_it() -> None:
    assert judged(GOOD, secret_modes={"/k": 0o640})["secret files"].severity == "ok"


def test_beyond_loopback_with_tls_is_well() -> None:
    values = {**GOOD, "host": "0.0.0.0", "tls_cert": "/c", "tls_key": "/k"}
    assert judged(values)["listener"].found == "0.0.0.0, TLS"


def test_a_home_that_is_not_there_yet_is_no_fault() -> None:
    assert judged(GOOD, home_mode=None)["home rights"].severity == "ok"


def test_the_free_space_is_told_in_mib() -> None:
    assert f"{SEEN.free_bytes // MIB:,} MiB free at /h (50 %)" == judged(GOOD)["disk"].found


def test_a_fault_without_a_fix_cannot_be_told() -> None:
    with pytest.raises(AssertionError, match="x has no fix"):
        failing("x", "broken", "")


def test_a_report_fails_by_failures_and_not_by_warnings() -> None:
    rows = [well("a", "x"), warning("b", "x", "do")]
    assert report(rows)["ok"] is True
    assert report([*rows, failing("c", "x", "do")])["ok"] is False
    assert [finding_of(one.document()) for one in rows] == rows
