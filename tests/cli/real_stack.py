"""A real stack that the command line starts and stops: `orch up`, whatever the test types, `orch down`.

Looked at as every stack of the end-to-end tests is: before it is stopped, each job's ledger must replay to
its state without a gap, and each key must have an owner.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from contracts.states import STATE_CODES, State
from orch.client import Endpoint, OrchSync
from orch.store.keys import Keys
from tests.e2e.stack import Stack, connect, wait_until


class TypedStack(Stack):
    """A stack that is started and stopped by typing; `watched` holds it."""

    @override
    def start(self) -> None:
        self.log = self.home / "log" / "orch.log"
        words = [word for key, value in self._settings.items() for word in (_flag(key), str(value))]
        up = self.orch("up", "--detach", "--wait", *words)
        assert up.code == 0, up.err
        self.client = self._open.enter_context(OrchSync(Endpoint(self.url)))
        self.redis = self._open.enter_context(connect(self.redis_url))
        wait_until(self._is_serving, what=f"all parts serve; {self.log}")

    @override
    def end(self) -> None:
        self.found += self.faults()
        down = self.orch("down")
        assert down.code == 0, down.err
        self._open.close()
        wait_until(lambda: not self.processes(), what=f"no process is left: {self.processes()}")

    def submitted(self, spec: Mapping[str, Any], *words: str) -> str:
        """`orch submit - --json` of this spec; its job id."""
        ended = self.orch("submit", "-", "--json", *words, stdin=json.dumps(spec))
        assert ended.code == 0, ended.err
        return str(ended.document["job_id"])

    def store_as(self, job_id: str, state: State) -> None:
        """Changes what is stored, and not the ledger: what Orch never does."""
        self.redis.hset(Keys().job(job_id), "state", STATE_CODES[state])

    def leave_out(self, job_id: str, *, seq: int) -> None:
        """Takes one entry out of a stored ledger."""
        self.redis.hdel(Keys().job(job_id), str(seq))


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
