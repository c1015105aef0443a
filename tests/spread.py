"""How tests are spread over workers (`pytest -n 2`, which is what `make test` does): a file is never split.

The tests of a file share servers, stacks and orders of events; so a worker gets whole files (`--dist` in
pyproject.toml). The longest come first, or one worker would end with minutes of work that no other can share.
Without `-n` nothing here matters: one process, in the order of collection.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

LONGEST_FIRST: tuple[str, ...] = (
    "tests/sim/test_sim.py",
    "tests/sim/test_model.py",
    "tests/store/test_failures.py",
    "tests/shape/test_docs.py",
    "tests/contract/test_openapi.py",
    "tests/features/test_features.py",
    "tests/sim/test_mutants.py",
    "tests/chaos/test_slice.py",
    "tests/e2e/test_dashboards.py",
    "tests/e2e/test_observe.py",
    "tests/ops/test_drills.py",
    "tests/upgrade/test_rolling.py",
)
"""Files that take more than some seconds, roughly by length; one that is missing costs time, nothing else."""


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The same tests; every worker has to come to the same order."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    return sorted(
        items, key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST_FIRST))
    )
