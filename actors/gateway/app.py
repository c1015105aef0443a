"""The gateway's application: routes, guard and error bodies in one FastAPI app, without a server.

`create_app` is for those who have a store; `openapi_document` needs none.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from actors.gateway import (
    errors,
    health,
    openapi,
    routes_dead_letters,
    routes_evidence,
    routes_jobs,
    routes_schedules,
    routes_server,
    routes_webhooks,
)
from actors.gateway.guard import Guard
from actors.gateway.services import Gateway, Services
from actors.gateway.submission import Express


def _operation_id(route: APIRoute) -> str:
    return route.name


def _routes() -> FastAPI:
    app = FastAPI(
        title="Orch",
        description="Durable execution of AI-agent work.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    for part in (
        routes_jobs,
        routes_evidence,
        routes_dead_letters,
        routes_webhooks,
        routes_schedules,
        routes_server,
        health,
    ):
        app.include_router(part.router)
    errors.install(app)
    return app


def create_app(services: Services) -> FastAPI:
    """The application over these services; `serve.serve` runs it, with the hub it needs."""
    app = _routes()
    gate = app.state.gateway = Gateway(services)
    app.add_middleware(Express, gate=gate)
    app.add_middleware(Guard, ids=services.ids, hosts=services.hosts)
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document, as it stands in contracts/openapi.json."""
    return openapi.document(_routes())
