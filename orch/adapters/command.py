"""Wrap any command line: run argv without a shell, under the guard (RUN-1)."""

from __future__ import annotations

from typing import Any

from contracts.adapters import CommandConfig
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.artifacts import Refusal, artifact_folder, dropped, record
from orch.adapters.environment import agent_environment, job_variables
from orch.adapters.execute import Order, execute, failure
from orch.adapters.output import Output
from orch.adapters.protocol import Desk, Ending, Run
from orch.adapters.workshop import Workshop


class CommandAdapter:
    """One attempt is one process tree."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def run(self, run: Run, desk: Desk) -> Ending:
        """Runs the command to its end; canceled, its tree gets TERM, the grace, KILL."""
        config = CommandConfig.model_validate(run.spec.adapter.config)
        output = Output(desk, self._workshop.clock, self._workshop.scratch)
        try:
            ending = await self._attempt(run, config, desk, output)
            stored = await output.store(self._workshop.blobs)
        finally:
            output.close()
        if ending is not None:
            return ending
        result: dict[str, Any] = {"exit_code": 0}
        if stored is not None:
            result["output"] = stored
        return Ending(Outcome.DONE, ReasonCode.COMPLETED, exit_code=0, result=result)

    async def _attempt(
        self, run: Run, config: CommandConfig, desk: Desk, output: Output
    ) -> Ending | None:
        with artifact_folder(self._workshop.scratch) as folder:
            order = self._order(config, job_variables(run, self._workshop, artifacts=folder))
            finished = await execute(order, output, self._workshop)
            ending = failure(finished, order)
            try:
                await record(dropped(folder), desk)
            except Refusal as refusal:  # what the command did itself says more
                return ending or refusal.ending
        return ending

    def _order(self, config: CommandConfig, variables: dict[str, str]) -> Order:
        wall_at_ms = None
        if config.wall_ms is not None:
            wall_at_ms = self._workshop.clock.monotonic_ms() + config.wall_ms
        return Order(
            argv=config.argv,
            cwd=config.cwd,
            env=agent_environment(config.env, variables),
            stdin=None if config.stdin is None else config.stdin.encode(),
            wall_at_ms=wall_at_ms,
            idle_ms=config.idle_ms,
        )
