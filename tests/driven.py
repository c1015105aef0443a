"""Which events a test says that it makes happen, `@pytest.mark.drives("lease_lost")`: checked afterwards.

`contracts/events.md` names the files for each event; `tests/shape/test_events.py` wants one for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from orch.core.ledger import parse_ledger


def wanted(request: pytest.FixtureRequest) -> set[str]:
    """The events that the test names."""
    return {str(name) for mark in request.node.iter_markers("drives") for name in mark.args}


def counted(ledgers: Iterable[Mapping[str, str]]) -> Counter[str]:
    """How often each event stands in these job hashes."""
    return Counter(event.type.value for fields in ledgers for event in parse_ledger(fields))
