"""Which engines the conformance suite ran on: one line for each that is not here, a failure in CI."""

from __future__ import annotations

import pytest

from tests.store.engines import NAMES, must_be_here, why_absent


@pytest.mark.parametrize("name", NAMES)
def test_the_suite_runs_on_every_engine(name: str) -> None:
    reason = why_absent(name)
    assert not (reason and must_be_here()), f"{reason}, and .ci/run could have installed it"
    if reason:
        pytest.skip(f"the conformance suite did not run on it: {reason}")
