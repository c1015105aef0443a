"""Operators of a run: commands through the control stream while it storms, and at the end all doors open."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any

from contracts.control import make_command
from contracts.errors import OrchError
from orch.store.store import Store

_COMMANDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("drain", {}),
    ("drain", {"deadline_ms": 200}),
    ("drain", {"deadline_ms": 3_000}),
    ("undrain", {}),
    ("undrain", {}),
    ("pause", {"what": "dispatch"}),
    ("resume", {}),
)


async def command(store: Store, rng: Random, number: int) -> None:
    """One of them; an operator who hears nothing gives another one later."""
    name, args = rng.choice(_COMMANDS)
    target = rng.choice(("*", "pool:default"))
    made = make_command(f"op-{number}", name, target, args, token=f"t{number}")
    with suppress(OrchError):
        await store.control.push(made)


async def let_go(store: Store, data: Mapping[str, Any], round_: int) -> None:
    """After the storm: whatever is still closed is opened."""
    for field in data.get("desired", {}):
        scope, _, word = field.rpartition(":")
        name = {"drain": "undrain", "intake": "resume", "dispatch": "resume"}.get(word)
        if name is not None and not scope.startswith("runner:"):
            command_id = f"end-{round_}-{field.replace(':', '.').replace('*', 'all')}"
            with suppress(OrchError):
                made = make_command(command_id, name, scope, {}, token=command_id)
                await store.control.push(made)
