"""What does an agent see in its environment? Exactly this; nothing else is inherited (INTERFACE)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from orch.adapters.protocol import Run
from orch.adapters.workshop import Workshop

HOST_KEYS: Final = ("PATH", "HOME", "LANG")
PATH_DEFAULT: Final = "/usr/local/bin:/usr/bin:/bin"
OWN_PREFIX: Final = "ORCH_"


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step adds to its job's environment."""

    step_id: str
    key: str
    answer: Any = None
    answered: bool = False


def step_key(job_id: str, step_id: str) -> str:
    """ORCH_STEP_KEY: the same for every attempt of this step, different for any other step."""
    return hashlib.sha256(f"{job_id}\0{step_id}".encode()).hexdigest()[:32]


def host_environment(host: Mapping[str, str] = os.environ) -> dict[str, str]:
    """PATH, HOME and LANG of the runner; PATH is always there."""
    return {"PATH": PATH_DEFAULT, **{key: host[key] for key in HOST_KEYS if key in host}}


def job_variables(
    run: Run, workshop: Workshop, *, artifacts: Path | None = None, step: StepContext | None = None
) -> dict[str, str]:
    """The variables of one attempt, those that are known: ORCH_*, and TRACEPARENT of a job with a trace."""
    values: dict[str, str | None] = {
        "ORCH_JOB_ID": run.job_id,
        "ORCH_ATTEMPT": str(run.attempt),
        "ORCH_FENCE": str(run.claim.epoch),
        "ORCH_CLAIM": run.claim.text,
        "ORCH_ARTIFACT_DIR": None if artifacts is None else str(artifacts),
        "ORCH_URL": workshop.url,
        "ORCH_TOKEN": workshop.token_for(run),
        "ORCH_SHARD": str(workshop.shard) if workshop.shard else None,
        "TRACEPARENT": run.traceparent,
    }
    if step is not None:
        values["ORCH_STEP_ID"] = step.step_id
        values["ORCH_STEP_KEY"] = step.key
        values["ORCH_ANSWER"] = _json(step.answer) if step.answered else None
    else:
        values["ORCH_ANSWER"] = None if run.answer is None else _json(run.answer.get("value"))
        values["ORCH_CHECKPOINT"] = _json(run.progress) if run.progress else None
    return {key: value for key, value in values.items() if value is not None}


def agent_environment(spec_env: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The whole environment: the host's, then the spec's, then ours, which no spec can override."""
    chosen = {key: value for key, value in spec_env.items() if not key.startswith(OWN_PREFIX)}
    return {**host_environment(), **chosen, **variables}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
