"""The options that every command which talks to the gateway has, and how it gets its client."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from orch.cli.output import emit_body
from orch.settings import home_path

if TYPE_CHECKING:
    from orch.client import OrchSync
    from orch.client.calls import Call

T = TypeVar("T")

JobId = Annotated[str, Parameter(name="ID", help="The job.", allow_leading_hyphen=False)]


@Parameter(name="*")
@dataclass(frozen=True)
class Door:
    """Where the gateway is, and whether a human or a program reads."""

    url: Annotated[
        str | None,
        Parameter(help="The gateway's address; default ORCH_URL, else endpoint.json of the home."),
    ] = None
    home: Annotated[
        str | None, Parameter(help="The stack's home; default ORCH_HOME, else ~/.local/state/orch.")
    ] = None
    shard: Annotated[
        str | None,
        Parameter(
            help="Of a gateway that answers for several shards, this one; default ORCH_SHARD."
        ),
    ] = None
    as_json: Annotated[
        bool,
        Parameter(name="--json", negative="", help="Print the HTTP body on stdout, nothing else."),
    ] = False

    @property
    def home_path(self) -> Path:
        """The home that these options mean."""
        return home_path(self.home)

    def client(self) -> OrchSync:
        """A client of the gateway; close it with `with`."""
        from orch.client import OrchSync, find_endpoint

        return OrchSync(find_endpoint(self.url, self.home_path, os.environ, shard=self.shard))

    def ask(self, call: Call[T]) -> T | None:
        """One request. For a human its value; for a program the body is printed as it came, and None.

        Raises what `OrchSync.run` raises.
        """
        with self.client() as client:
            answer = client.send(call)
            if not self.as_json:
                return client.read(call, answer)
        emit_body(answer.body)
        return None

    def command(self, *words: str) -> str:
        """A command line to type next, that reaches the same gateway."""
        where = [("--url", self.url), ("--home", self.home), ("--shard", self.shard)]
        given = [word for flag, value in where if value is not None for word in (flag, value)]
        return shlex.join(["orch", *words, *given])


HERE = Door()
"""The default of every `door` parameter."""
