"""What can this server do? (/v1/capabilities)"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

from actors.gateway.answers import json_answer, refusals
from actors.gateway.models import Capabilities
from contracts import limits
from contracts.adapters import ADAPTER_CONFIGS
from contracts.events import Frame
from contracts.spec import SCHEMA_VERSION
from orch import __version__

router: Final = APIRouter(tags=["server"])

_LIMITS: Final = {
    name.lower(): value
    for name, value in vars(limits).items()
    if name.endswith("_MAX") and isinstance(value, int)
}
_CAPABILITIES: Final = Capabilities(
    version=__version__,
    schema_version=SCHEMA_VERSION,
    adapters=sorted(ADAPTER_CONFIGS),
    event_frames=list(Frame),
    limits=_LIMITS,
)


@router.get("/v1/capabilities", response_model=Capabilities, responses=refusals())
async def get_capabilities() -> Response:
    """Version, adapters, bounds and event frames."""
    return json_answer(_CAPABILITIES)
