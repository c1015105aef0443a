"""What would a GET answer? HEAD: the same head without a body, wherever a GET ends by itself.

The routes see a GET, so that no route can forget it or answer otherwise. A stream has no end, so it has
no HEAD either.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAM: Final = "/events"
_KEY: Final = "is_head"


def is_head(request: Request) -> bool:
    """Whether nobody will see the body."""
    return bool(request.scope["state"].get(_KEY))


def has_head(path: str) -> bool:
    """Whether a GET of this path ends by itself."""
    return not path.endswith(_STREAM)


class Heads:
    """ASGI middleware, inside of the guard."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask as a GET, drop the body."""
        if scope.get("method") != "HEAD" or not has_head(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["state"][_KEY] = True
        await self._app({**scope, "method": "GET"}, receive, bodiless)
