"""Short ways to write the specs that tests submit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

AGENTS: Final = str(Path(__file__).parent / "agents")
"""The folder that jobs import their callables from."""


def command(*argv: str, **spec: Any) -> dict[str, Any]:
    """One command line; `config` adds to the adapter's."""
    config = {"argv": list(argv), **spec.pop("config", {})}
    return {"name": "command", "adapter": {"name": "command", "config": config}, **spec}


def shell(script: str, **spec: Any) -> dict[str, Any]:
    """One line of shell."""
    return command("/bin/sh", "-c", script, **spec)


def step(step_id: str, script: str, **more: Any) -> dict[str, Any]:
    """One step of a `steps` job."""
    return {"id": step_id, "argv": ["/bin/sh", "-c", script], **more}


def steps(*listed: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Steps in order."""
    config = {"steps": list(listed), **spec.pop("config", {})}
    return {"name": "steps", "adapter": {"name": "steps", "config": config}, **spec}


def call(function: str, *args: Any, **spec: Any) -> dict[str, Any]:
    """A function of tests/e2e/agents/work.py."""
    config = {"callable": f"work:{function}", "args": list(args), "path": AGENTS}
    config |= spec.pop("config", {})
    return {"name": function, "adapter": {"name": "python", "config": config}, **spec}


def http(url: str, **spec: Any) -> dict[str, Any]:
    """A call of an endpoint; `config` adds to the adapter's."""
    config = {"url": url, **spec.pop("config", {})}
    return {"name": "http", "adapter": {"name": "http", "config": config}, **spec}
