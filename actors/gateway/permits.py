"""Who may do what: one rule for each operation, and the judgement of a caller by it. Pure.

An operation without a rule cannot be served: `app.py` compares this table with the routes before it listens.
So a new route needs a row here, and a new kind of id in a path needs an entry in `PATH_IDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from contracts.errors import ErrorCode, Refused
from contracts.tokens import SCOPES, Scope


class Reach(Enum):
    """Whose data an operation touches."""

    JOB = auto()
    """The job in its path; another tenant's does not exist for the caller."""
    TENANT = auto()
    """What a query, a filter or a body names; the route narrows it to the caller's tenant."""
    HOUSE = auto()
    """Everybody's; not for a token of one tenant."""
    NOBODY = auto()
    """Nobody's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a caller needs for one operation: one of `scopes`, or not even a token."""

    scopes: frozenset[Scope]
    reach: Reach
    is_open: bool = False
    for_agents: bool = False
    """Whether an attempt may do this to its own job with its own token."""


def _rule(reach: Reach, *scopes: Scope, for_agents: bool = False) -> Rule:
    return Rule(frozenset(scopes), reach, for_agents=for_agents)


_OPEN: Final = Rule(frozenset(), Reach.NOBODY, is_open=True)
_READ_JOB: Final = _rule(Reach.JOB, Scope.READ, for_agents=True)
_STEER_JOB: Final = _rule(Reach.JOB, Scope.STEER)
_LOOK_AT_HOUSE: Final = _rule(Reach.HOUSE, Scope.READ, Scope.CONTROL)
_HOOK: Final = _rule(Reach.TENANT, Scope.ADMIN)
_COMMAND: Final = _rule(Reach.HOUSE, Scope.CONTROL)

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "submit_job": _rule(Reach.TENANT, Scope.SUBMIT),
        "submit_batch": _rule(Reach.TENANT, Scope.SUBMIT),
        "list_jobs": _rule(Reach.TENANT, Scope.READ),
        "get_job": _READ_JOB,
        "cancel_job": _STEER_JOB,
        "pause_job": _STEER_JOB,
        "resume_job": _STEER_JOB,
        "answer_question": _STEER_JOB,
        "get_ledger": _READ_JOB,
        "get_logs": _READ_JOB,
        "watch_job": _READ_JOB,
        "list_artifacts": _READ_JOB,
        "get_artifact": _READ_JOB,
        "explain_job": _READ_JOB,
        "list_dead_letters": _rule(Reach.TENANT, Scope.READ),
        "replay_dead_letters": _rule(Reach.TENANT, Scope.SUBMIT),
        "put_schedule": _rule(Reach.TENANT, Scope.SUBMIT),
        "fire_schedule": _rule(Reach.TENANT, Scope.SUBMIT),
        "list_schedules": _rule(Reach.TENANT, Scope.READ),
        "get_schedule": _rule(Reach.TENANT, Scope.READ),
        "delete_schedule": _rule(Reach.TENANT, Scope.STEER),
        "pause_schedule": _rule(Reach.TENANT, Scope.STEER),
        "resume_schedule": _rule(Reach.TENANT, Scope.STEER),
        "list_sessions": _rule(Reach.TENANT, Scope.READ),
        "get_session": _rule(Reach.TENANT, Scope.READ),
        "list_pools": _LOOK_AT_HOUSE,
        "get_pool_health": _LOOK_AT_HOUSE,
        "list_replica_sets": _LOOK_AT_HOUSE,
        "get_scale": _LOOK_AT_HOUSE,
        "list_commands": _COMMAND,
        "get_command": _COMMAND,
        "command": _COMMAND,
        "drain_pool": _COMMAND,
        "undrain_pool": _COMMAND,
        "pause_pool": _COMMAND,
        "resume_pool": _COMMAND,
        "reload_pool": _COMMAND,
        "add_webhook": _HOOK,
        "list_webhooks": _HOOK,
        "get_webhook": _HOOK,
        "remove_webhook": _HOOK,
        "test_webhook": _HOOK,
        "enable_webhook": _HOOK,
        "rotate_webhook": _HOOK,
        "list_deliveries": _HOOK,
        "resend_deliveries": _HOOK,
        "get_capabilities": Rule(SCOPES, Reach.NOBODY, for_agents=True),
        "get_liveness": _OPEN,
        "get_readiness": _OPEN,
        "get_metrics": _rule(Reach.HOUSE, Scope.CONTROL, Scope.ADMIN),
    }
)
"""By the name of the route's function, which is the operation's id in OpenAPI."""

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Where nobody is asked who they are: probes have no token, and nothing of a job is told."""

PATH_IDS: Final = MappingProxyType(
    {
        "job_id": Reach.JOB,
        "sha256": Reach.NOBODY,
        "schedule_id": Reach.TENANT,
        "pool": Reach.HOUSE,
        "command_id": Reach.HOUSE,
        "session": Reach.TENANT,
        "webhook_id": Reach.TENANT,
    }
)
"""What an id in a path is of. A digest is looked for among those of the job before it, and a schedule or
session among those of the tenant that the query names, which is narrowed to the caller's."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls."""

    name: str
    """As the ledger names it."""
    tenant: str | None
    """None: all tenants."""
    scopes: frozenset[Scope]
    key: str
    """What bounds are counted by: the token, or the client's address."""
    job_id: str | None = None
    """The one job that an attempt's own token is about."""

    def tenant_for(self, asked: str | None) -> str | None:
        """The tenant that a list is narrowed to.

        Raises:
            Refused: TENANT_MISMATCH, when another than the caller's was asked for.
        """
        if self.tenant is None or asked in {None, self.tenant}:
            return self.tenant or asked
        raise Refused(ErrorCode.TENANT_MISMATCH, "this token is of another tenant")


def check(caller: Identity, operation: str) -> Rule:
    """The rule of an operation that this caller may call.

    Raises:
        Refused: FORBIDDEN, naming the scope that is missing.
    """
    rule = RULES[operation]
    if rule.is_open:
        return rule
    if caller.job_id is not None and not rule.for_agents:
        raise _forbidden("the token of an attempt reads its own job and nothing else")
    if rule.scopes.isdisjoint(caller.scopes):
        missing = " or ".join(sorted(scope.value for scope in rule.scopes))
        raise _forbidden(f"the token lacks the scope {missing}", scope=missing)
    if rule.reach is Reach.HOUSE and caller.tenant is not None:
        raise _forbidden("this is not for a token of one tenant")
    return rule


def _forbidden(message: str, **details: str) -> Refused:
    hint = "Use a token that may do this: `orch token create` makes one."
    return Refused(ErrorCode.FORBIDDEN, message, details=details or None, hint=hint)


def gaps(operations: Mapping[str, frozenset[str]]) -> list[str]:
    """What these operations, each with the ids of its path, lack here; empty when all are ruled."""
    faults = [f"{name}: no rule in permits.RULES" for name in operations if name not in RULES]
    for name, ids in operations.items():
        faults += [
            f"{name}: what is {{{one}}}? Say it in PATH_IDS" for one in ids - PATH_IDS.keys()
        ]
        if name in RULES and (RULES[name].reach is Reach.JOB) != ("job_id" in ids):
            faults.append(f"{name}: reach JOB goes with {{job_id}} in the path, and only with it")
    return faults
