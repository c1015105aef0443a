"""Which adapter has which name, and where does a fault inside one become an Ending?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import ValidationError

from contracts.errors import ErrorCode, OrchError, Refused
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.command import CommandAdapter
from orch.adapters.http import HttpAdapter
from orch.adapters.inline import Inline
from orch.adapters.protocol import Adapter, Desk, Ending, Run
from orch.adapters.python import PythonAdapter
from orch.adapters.steps import StepsAdapter
from orch.adapters.workshop import Workshop


class Bounded:
    """An adapter whose faults end the attempt and nothing else.

    Only errors of the catalogue (LEASE_OVER from the desk above all) and cancellation pass.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    async def run(self, run: Run, desk: Desk) -> Ending:
        """As the adapter's own."""
        try:
            return await self._adapter.run(run, desk)
        except OrchError:
            raise
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return Ending(
                Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG, f"adapter.config: {first['msg']}"
            )
        except ExceptionGroup as group:
            return self._from_group(group)
        except Exception as error:  # noqa: BLE001 - the boundary: one job must not end its runner
            return _internal(error)

    def _from_group(self, group: ExceptionGroup) -> Ending:
        leaves = list(_leaves(group))
        for leaf in leaves:
            if isinstance(leaf, OrchError):
                raise leaf from None
        return _internal(leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _internal(error: BaseException) -> Ending:
    """Mostly a host that is out of descriptors, memory or disk: another attempt may fare better."""
    message = f"{type(error).__name__}: {error}"[:500]
    return Ending(Outcome.TRANSIENT, ReasonCode.INTERNAL, message)


class Adapters:
    """The shipped adapters of one runner; leaving the scope ends the python workers and connections."""

    def __init__(self, workshop: Workshop) -> None:
        self.inline = Inline()
        """What runs in the runner's own loop; a runner may ask it past the adapters."""
        self._python = PythonAdapter(workshop, self.inline)
        self._http = HttpAdapter(workshop)
        self._by_name: dict[str, Adapter] = {
            "command": Bounded(CommandAdapter(workshop)),
            "steps": Bounded(StepsAdapter(workshop)),
            "python": Bounded(self._python),
            "http": Bounded(self._http),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self._python.aclose()

    def adapter_for(self, name: str) -> Adapter:
        """The adapter of that name.

        Raises:
            Refused: INVALID_SPEC; a spec with such a name should not have been admitted.
        """
        adapter = self._by_name.get(name)
        if adapter is None:
            message = f"adapter.name: no adapter {name!r}"
            raise Refused(ErrorCode.INVALID_SPEC, message, details={"path": "adapter.name"})
        return adapter
