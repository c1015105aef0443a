"""Does anybody want traces of this process?

The environment decides, by the names that OpenTelemetry defines. Without them there is no `Traces` at all,
nothing of the SDK is imported, and nobody does anything for a trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from orch.telemetry.traces import Traces

log = structlog.get_logger()

_EXPORTERS: Final = frozenset({"otlp", "console"})
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def exporters_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The exporters that the environment switches on; none is the default, for nothing but configured
    addresses may be contacted."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if not named:
        return ("otlp",) if any(environ.get(name) for name in _ENDPOINTS) else ()
    wanted = [name.strip() for name in named.split(",")]
    unknown = [name for name in wanted if name not in _EXPORTERS | {"none", ""}]
    if unknown:
        log.warning(
            "traces_exporter_unknown",
            variable="OTEL_TRACES_EXPORTER",
            known=sorted([*_EXPORTERS, "none"]),
        )
    return tuple(dict.fromkeys(name for name in wanted if name in _EXPORTERS))


def open_traces(role: str, instance_id: str, environ: Mapping[str, str]) -> Traces | None:
    """The traces of this process, if the environment wants any.

    What cannot be had is told in one warning, and the process runs without it: a job must not fail for
    want of a picture of it.
    """
    exporters = exporters_in(environ)
    if not exporters:
        return None
    # Here and not above: the SDK takes 60 ms to import, and most processes never need it.
    from orch.telemetry.sdk import SdkTraces, exporters_for  # noqa: PLC0415 - see above

    made = exporters_for(exporters, environ)
    return SdkTraces(made, role=role, instance_id=instance_id, environ=environ) if made else None
