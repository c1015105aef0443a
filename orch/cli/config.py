"""`orch config show`: every setting, its value and where it came from."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from contracts.defaults import DEFAULTS
from orch.cli.output import emit_document, emit_table, say_renamed
from orch.settings import Settings, load_settings
from orch.values import word_of


def show(
    *,
    origin: Annotated[bool, Parameter(negative="", help="Say where each value came from.")] = False,
    home: Annotated[str | None, Parameter(help="The home whose orch.toml counts.")] = None,
    config: Annotated[str | None, Parameter(help="The project file; default ./orch.toml.")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON object.")
    ] = False,
) -> int:
    """Show every setting, its value and where it came from.

    With --json {key: value}; with --origin too {key: {value, origin}}. Passwords are not shown.
    """
    settings = load_settings(home=home, config=config)
    say_renamed(settings.renamed)
    if as_json:
        emit_document(_document(settings, with_origin=origin))
        return 0
    headers = ("KEY", "VALUE", *(("ORIGIN",) if origin else ()))
    emit_table(headers, [_row(settings, key)[: len(headers)] for key in DEFAULTS])
    return 0


def _row(settings: Settings, key: str) -> tuple[str, str, str]:
    return key, word_of(settings.shown(key)) or "-", settings.origin(key)


def _document(settings: Settings, *, with_origin: bool) -> dict[str, Any]:
    values = {key: settings.shown(key) for key in DEFAULTS}
    if not with_origin:
        return dict(values)
    return {key: {"value": value, "origin": settings.origin(key)} for key, value in values.items()}
