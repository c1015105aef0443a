"""`orch demo`: four small stories on a private stack, each claim checked before it is printed.

The tour (`tour.py`) starts a house of its own (`house.py`), walks the stages (`coding`, `crash`,
`question`, `crowd`), tears everything down and ends with a table (`ending.py`). What happens is told by a
voice (`voice.py` in a pipe, `bright.py` on a terminal) from the jobs' ledgers; what is claimed is a `Check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


async def demo(
    *, up_argv: Sequence[str], environ: Mapping[str, str], keep: bool = False, as_json: bool = False
) -> int:
    """Run the demonstration. 0: every check held; 1: one did not; 130: interrupted.

    `up_argv` is the command line that starts a stack, to which a home is added; `environ` its environment.
    With `keep` the home and the stack stay. With `as_json` one document goes to stdout, the talk to stderr.

    Raises:
        Refused: DEPENDENCY_MISSING without a usable git, or what the stack itself could not find.
        Unavailable: the stack did not start.
    """
    from orch.demo.tour import Wish, tour

    return await tour(Wish(tuple(up_argv), dict(environ), keep=keep, as_json=as_json))
