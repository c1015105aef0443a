"""The control plane over HTTP: pools and their health, commands of operators, numbers for autoscalers.

A command is pushed into the control stream and answered with its id at once; what became of it is read under
that id. So HTTP, the command line and an XADD by hand are the same door.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from actors.gateway.answers import (
    PAGE_DEFAULT,
    Gate,
    Limit,
    id_path,
    json_answer,
    legal_id,
    stored_refusals,
    takes,
)
from actors.gateway.body import as_model, parse_json, read_body, read_json
from actors.gateway.callers import UNNAMED, Caller
from actors.gateway.permits import Identity
from actors.gateway.services import Gateway
from contracts.commands import CommandName
from contracts.control import (
    Commanded,
    CommandRequest,
    ControlList,
    ControlRecord,
    DrainRequest,
    GateRequest,
    make_command,
)
from contracts.errors import ErrorCode
from contracts.ids import is_id
from contracts.pools import PoolHealth, PoolList, ReplicaSetList, Scale

router: Final = APIRouter(tags=["control"])
_E: Final = ErrorCode


PoolId = Annotated[str, legal_id("pool"), id_path("The pool's name.")]
CommandId = Annotated[str, legal_id("command"), id_path("The command's id.")]


@router.get("/v1/pools", response_model=PoolList, responses=stored_refusals())
async def list_pools(gate: Gate) -> Response:
    """All pools, by name."""
    return json_answer(await gate.services.store.pools.pools())


_LOOK: Final = stored_refusals(_E.INVALID_ID, _E.NOT_FOUND)


@router.get("/v1/pools/{pool}/health", response_model=PoolHealth, responses=_LOOK)
async def get_pool_health(gate: Gate, pool: PoolId) -> Response:
    """How one pool does."""
    return json_answer(await gate.services.store.pools.health(pool))


@router.get("/v1/replicasets", response_model=ReplicaSetList, responses=stored_refusals())
async def list_replica_sets(gate: Gate) -> Response:
    """Runners of each pool, those of equal version and capabilities taken together."""
    return json_answer(await gate.services.store.pools.replica_sets())


@router.get("/v1/scale/{pool}", response_model=Scale, responses=_LOOK)
async def get_scale(gate: Gate, pool: PoolId) -> Response:
    """Jobs that runners of the pool must work off, waiting and running: what an autoscaler asks for."""
    return json_answer(Scale(workload=await gate.services.store.pools.workload(pool)))


# ---------------------------------------------------------------- commands

_PUSHED: Final = (_E.DUPLICATE_COMMAND, _E.QUEUE_FULL, _E.UNSUPPORTED_MEDIA_TYPE, _E.INVALID_ID)


async def _push(
    gate: Gateway,
    caller: Identity,
    name: str,
    target: str,
    args: object,
    asked: CommandRequest | None = None,
) -> Response:
    token = gate.services.ids.token()
    command = make_command(
        (asked.id if asked else None) or f"c-{token}",
        name,
        target,
        args,
        if_revision=asked.if_revision if asked else None,
        by=caller.name if is_id(caller.name) else UNNAMED,
        token=token,
    )
    await gate.services.store.control.push(command)
    return json_answer(Commanded(command_id=command.command_id), status=202)


@router.post(
    "/v1/control",
    status_code=202,
    response_model=Commanded,
    responses=stored_refusals(*_PUSHED),
    openapi_extra=takes(CommandRequest),
)
async def command(gate: Gate, caller: Caller, request: Request) -> Response:
    """Push any command."""
    document = await read_json(request, wait_ms=gate.services.timing.body_wait_ms)
    asked = as_model(document, CommandRequest)
    return await _push(gate, caller, asked.command, asked.target, asked.args, asked)


@router.get("/v1/control", response_model=ControlList, responses=stored_refusals())
async def list_commands(gate: Gate, limit: Limit = PAGE_DEFAULT) -> Response:
    """Commands of the last seven days, newest first."""
    return json_answer(await gate.services.store.control.commands(limit=limit))


@router.get("/v1/control/{command_id}", response_model=ControlRecord, responses=_LOOK)
async def get_command(gate: Gate, command_id: CommandId) -> Response:
    """What became of one command: who obeys it, who not yet, how it ended."""
    return json_answer(await gate.services.store.control.command(command_id))


def _pool_verb(model: type[BaseModel] | None) -> dict[str, Any]:
    return {
        "status_code": 202,
        "response_model": Commanded,
        "responses": stored_refusals(_E.NOT_FOUND, *_PUSHED),
        **({"openapi_extra": takes(model, required=False)} if model is not None else {}),
    }


async def _command_pool(
    gate: Gateway,
    caller: Identity,
    request: Request,
    name: CommandName,
    pool: str,
    model: type[BaseModel] | None = None,
) -> Response:
    body = await read_body(request, wait_ms=gate.services.timing.body_wait_ms)
    given = as_model(parse_json(body), model) if body and model is not None else None
    args = given.model_dump(exclude_none=True) if given is not None else {}
    await gate.services.store.pools.check(pool)
    return await _push(gate, caller, name, f"pool:{pool}", args)


@router.post("/v1/pools/{pool}/drain", **_pool_verb(DrainRequest))
async def drain_pool(gate: Gate, caller: Caller, request: Request, pool: PoolId) -> Response:
    """No new claims; what runs may finish, until the deadline."""
    return await _command_pool(gate, caller, request, CommandName.DRAIN, pool, DrainRequest)


@router.post("/v1/pools/{pool}/undrain", **_pool_verb(None))
async def undrain_pool(gate: Gate, caller: Caller, request: Request, pool: PoolId) -> Response:
    """The pool takes work again."""
    return await _command_pool(gate, caller, request, CommandName.UNDRAIN, pool)


@router.post("/v1/pools/{pool}/pause", **_pool_verb(GateRequest))
async def pause_pool(gate: Gate, caller: Caller, request: Request, pool: PoolId) -> Response:
    """Nothing is taken in for the pool, nothing is given out, or both."""
    return await _command_pool(gate, caller, request, CommandName.PAUSE, pool, GateRequest)


@router.post("/v1/pools/{pool}/resume", **_pool_verb(GateRequest))
async def resume_pool(gate: Gate, caller: Caller, request: Request, pool: PoolId) -> Response:
    """Opens what a pause has closed."""
    return await _command_pool(gate, caller, request, CommandName.RESUME, pool, GateRequest)


@router.post("/v1/pools/{pool}/reload", **_pool_verb(None))
async def reload_pool(gate: Gate, caller: Caller, request: Request, pool: PoolId) -> Response:
    """The stacks that run the pool read their configuration again."""
    return await _command_pool(gate, caller, request, CommandName.RELOAD, pool)
