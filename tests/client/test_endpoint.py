"""Where the gateway is, whose token is shown there, and which shard is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.errors import ErrorCode, Refused, Unavailable
from orch.client import find_endpoint

HERE = "http://127.0.0.1:8700"


def test_what_is_given_comes_before_the_environment_and_that_before_the_home(
    tmp_path: Path,
) -> None:
    (tmp_path / "endpoint.json").write_text(json.dumps({"url": HERE}))
    environ = {"ORCH_URL": "http://elsewhere:1/", "ORCH_SHARD": "2"}
    assert find_endpoint(None, tmp_path, {}).url == HERE
    assert find_endpoint(None, tmp_path, {}).shard is None
    found = find_endpoint(None, tmp_path, environ)
    assert (found.url, found.shard) == ("http://elsewhere:1", "2")
    found = find_endpoint(HERE, tmp_path, environ, shard="7")
    assert (found.url, found.shard) == (HERE, "7")


@pytest.mark.parametrize("shard", ["-1", "1024", "01", "one", "1 ", "\u0661"])
def test_what_is_no_number_of_a_shard_is_refused(tmp_path: Path, shard: str) -> None:
    with pytest.raises(Refused) as refused:
        find_endpoint(HERE, tmp_path, {"ORCH_SHARD": shard})
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_a_home_in_which_nothing_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as told:
        find_endpoint(None, tmp_path, {})
    assert "orch up" in str(told.value.hint)
