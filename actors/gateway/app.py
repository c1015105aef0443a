"""The gateway's application: routes, guard and error bodies in one FastAPI app, without a server.

`create_app` is for those who have a store; `openapi_document` needs none.
"""

from __future__ import annotations

from typing import Any, Final, cast

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from actors.gateway import (
    errors,
    health,
    openapi,
    permits,
    routes_control,
    routes_dead_letters,
    routes_evidence,
    routes_jobs,
    routes_schedules,
    routes_server,
    routes_sessions,
    routes_webhooks,
)
from actors.gateway.callers import Callers, authorize
from actors.gateway.guard import Guard
from actors.gateway.heads import Heads, has_head
from actors.gateway.services import Services
from actors.gateway.shards import Shards
from actors.gateway.submission import Express
from contracts.errors import ErrorCode, Misuse

_ROUTERS: Final = tuple(
    part.router
    for part in (
        routes_jobs,
        routes_evidence,
        routes_dead_letters,
        routes_schedules,
        routes_control,
        routes_sessions,
        routes_webhooks,
        routes_server,
        health,
    )
)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _routes() -> FastAPI:
    app = FastAPI(
        title="Orch",
        description="Durable execution of AI-agent work. HEAD answers as GET, but not for a stream. "
        "A gateway of several shards takes the one that the token is of, or that the header Orch-Shard "
        "names.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(authorize)],
    )
    for router in _ROUTERS:
        app.include_router(router)
    errors.install(app, _methods_of)
    gaps = permits.gaps(operations())
    if gaps:
        raise Misuse(ErrorCode.INTERNAL, "; ".join(gaps))
    return app


def operations() -> dict[str, frozenset[str]]:
    """Each operation, and the ids in its path."""
    routes = [cast("APIRoute", route) for router in _ROUTERS for route in router.routes]
    return {route.name: frozenset(route.param_convertors) for route in routes}


def _methods_of(path: str) -> frozenset[str]:
    routes = (route for router in _ROUTERS for route in router.routes)
    found = [
        method
        for route in routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    ]
    methods = frozenset(found)
    return methods | {"HEAD"} if "GET" in methods and has_head(path) else methods


def create_app(services: Services) -> FastAPI:
    """The application over these services; `serve.serve` runs it, with the hub it needs."""
    app = _routes()
    shards = app.state.shards = Shards(services)
    app.add_middleware(Heads)
    app.add_middleware(Express)
    app.add_middleware(Callers, shards=shards)
    app.add_middleware(
        Guard,
        ids=services.ids,
        hosts=services.hosts,
        refusals=shards.commons.refusals,
        figures=shards.commons.figures,
    )
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document, as it stands in contracts/openapi.json."""
    return openapi.document(_routes())
