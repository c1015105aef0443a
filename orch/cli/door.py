"""The options that every command which talks to the gateway has, and how it gets its client."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from orch.settings import home_path

if TYPE_CHECKING:
    from orch.client import OrchSync

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

        return OrchSync(find_endpoint(self.url, self.home_path, os.environ))

    def command(self, *words: str) -> str:
        """A command line to type next, that reaches the same gateway."""
        where = [("--url", self.url), ("--home", self.home)]
        given = [word for flag, value in where if value is not None for word in (flag, value)]
        return shlex.join(["orch", *words, *given])


HERE = Door()
"""The default of every `door` parameter."""
