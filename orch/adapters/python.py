"""Call a python function by its import path: in a worker process, or inline in the runner (RUN-1)."""

from __future__ import annotations

from typing import Any, Final

import anyio
import orjson

from contracts.adapters import PythonConfig
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.artifacts import Refusal, dropped, record
from orch.adapters.environment import job_variables
from orch.adapters.inline import Inline, InlineCall, done, too_long
from orch.adapters.output import Output
from orch.adapters.pool import Pool, Worker, WorkerExited
from orch.adapters.process import GuardExit
from orch.adapters.protocol import Desk, Ending, Run
from orch.adapters.sweep import CLAIM_MARK
from orch.adapters.workshop import Workshop

FRESH_MAX: Final = 5
"""Fresh workers tried for one call while its sources keep changing."""


class PythonAdapter:
    """One attempt is one call. Owns the worker pool; `aclose` ends it."""

    def __init__(self, workshop: Workshop, inline: Inline) -> None:
        self._workshop = workshop
        self._pool = Pool(workshop)
        self._inline = inline

    async def run(self, run: Run, desk: Desk) -> Ending:
        """Calls the function; canceled, the worker that runs it is killed at once."""
        config = PythonConfig.model_validate(run.spec.adapter.config)
        if config.isolation == "inline":
            return await self._inline.run(_inline_call(config), desk)
        output = Output(desk, self._workshop.clock, self._workshop.scratch)
        try:
            ending = await self._call_fresh(run, config, desk, output)
            await output.store(self._workshop.blobs)
        finally:
            output.close()
        return ending

    async def aclose(self) -> None:
        """Ends the idle workers."""
        await self._pool.aclose()

    async def _call_fresh(
        self, run: Run, config: PythonConfig, desk: Desk, output: Output
    ) -> Ending:
        for _ in range(FRESH_MAX):
            ending = await self._call(run, config, desk, output)
            if ending is not None:
                return ending
        message = "the sources kept changing while they were called"
        return Ending(Outcome.TRANSIENT, ReasonCode.INTERNAL, message)

    async def _call(
        self, run: Run, config: PythonConfig, desk: Desk, output: Output
    ) -> Ending | None:
        """One try; None when the worker found its sources changed and called nothing."""
        reply: dict[str, Any] | None = None
        async with self._pool.worker(config.path) as worker:
            request = self._request(run, config, worker)
            # What the call starts carries the claim's mark, not the worker's.
            marked = (CLAIM_MARK, run.claim.text)
            worker.process.marks.add(marked)
            try:
                with anyio.move_on_after(_seconds(config.wall_ms)):
                    reply = await worker.call(request, output)
            except WorkerExited as exited:
                return _exited(exited.ended)
            if reply is None:
                return too_long()
            if worker.is_clean:
                worker.process.marks.discard(marked)
            if "stale" in reply:
                return None
            refusal = await self._keep(worker, desk)
        return _ending(reply, refusal)

    def _request(self, run: Run, config: PythonConfig, worker: Worker) -> bytes:
        variables = job_variables(run, self._workshop, artifacts=worker.folder)
        document = {
            "callable": config.callable,
            "args": config.args,
            "kwargs": config.kwargs,
            "env": variables,
        }
        return orjson.dumps(document)

    async def _keep(self, worker: Worker, desk: Desk) -> Ending | None:
        """Records what the call left in its folder; why it may not, when it may not."""
        if not worker.has_artifacts():
            return None
        try:
            await record(dropped(worker.folder), desk)
        except Refusal as refusal:
            return refusal.ending
        finally:
            worker.renew_folder()
        return None


def _inline_call(config: PythonConfig) -> InlineCall:
    return {
        "callable": config.callable,
        "isolation": "inline",
        "args": config.args,
        "kwargs": config.kwargs,
        "path": config.path,
        "wall_ms": config.wall_ms,
    }


def _seconds(limit_ms: int | None) -> float | None:
    return None if limit_ms is None else limit_ms / 1000


def _ending(reply: dict[str, Any], refusal: Ending | None) -> Ending:
    if reply.get("fault") == "not_found":
        return Ending(Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND, reply["message"])
    if "fault" in reply:
        return Ending(Outcome.LOGIC, ReasonCode.EXCEPTION, reply["message"])
    return refusal or done(reply["result"])


def _exited(ended: GuardExit) -> Ending:
    if ended.lost:
        return Ending(Outcome.TRANSIENT, ReasonCode.GUARD_LOST, "the worker's guard died or froze")
    if ended.error is not None:
        message = f"no worker could start: {ended.error}"
        return Ending(Outcome.ENVIRONMENT, ReasonCode.NOT_EXECUTABLE, message)
    if ended.killed is not None:
        return Ending(Outcome.LOST, ReasonCode.LEASE_OVER, "killed: its lease was not confirmed")
    code = ended.shell_code
    return Ending(
        Outcome.LOGIC, ReasonCode.WORKER_EXITED, f"the call ended its process with {code}", code
    )
