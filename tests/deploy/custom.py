"""Schemas of the custom resources that the chart makes: as much of them as it uses, and nothing besides.

Kubernetes' own schemas know no custom resources. These were written from the documentation of the Prometheus
operator (monitoring.coreos.com/v1) and of KEDA (keda.sh/v1alpha1); no operator has judged them here.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string", "minLength": 1}
_LABELS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION: Final = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
_COUNT: Final = {"type": "integer", "minimum": 0}


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object that has these keys and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**required, **optional},
        "required": list(required),
    }


def listed(item: dict[str, Any]) -> dict[str, Any]:
    """A list that has something in it."""
    return {"type": "array", "minItems": 1, "items": item}


def resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A whole manifest."""
    metadata = closed({"name": {**_TEXT, "maxLength": 63}, "labels": _LABELS})
    return closed(
        {
            "apiVersion": {"const": version},
            "kind": {"const": kind},
            "metadata": metadata,
            "spec": spec,
        }
    )


_ENDPOINTS: Final = listed(closed({"port": _TEXT, "interval": _DURATION}))
_SELECTOR: Final = closed({"matchLabels": _LABELS})
_RULE: Final = {
    "oneOf": [
        closed({"record": _TEXT, "expr": _TEXT}, labels=_LABELS),
        closed(
            {"alert": _TEXT, "expr": _TEXT, "labels": _LABELS, "annotations": _LABELS},
            **{"for": _DURATION, "keep_firing_for": _DURATION},
        ),
    ]
}
_TRIGGER: Final = closed(
    {
        "type": {"const": "metrics-api"},
        "metadata": closed(
            {
                "url": {"type": "string", "pattern": "^https?://"},
                "valueLocation": _TEXT,
                "targetValue": {"type": "string", "pattern": "^[1-9][0-9]*$"},
            },
            authMode={"const": "bearer"},
            unsafeSsl={"const": "true"},
        ),
    },
    authenticationRef=closed({"name": _TEXT}),
)

_OPERATOR: Final = "monitoring.coreos.com/v1"
_KEDA: Final = "keda.sh/v1alpha1"
CUSTOM: Final[dict[str, dict[str, Any]]] = {
    "ServiceMonitor": resource(
        _OPERATOR,
        "ServiceMonitor",
        closed({"selector": _SELECTOR, "endpoints": _ENDPOINTS}, jobLabel=_TEXT),
    ),
    "PodMonitor": resource(
        _OPERATOR,
        "PodMonitor",
        closed({"selector": _SELECTOR, "podMetricsEndpoints": _ENDPOINTS}, jobLabel=_TEXT),
    ),
    "PrometheusRule": resource(
        _OPERATOR,
        "PrometheusRule",
        closed({"groups": listed(closed({"name": _TEXT, "rules": listed(_RULE)}))}),
    ),
    "ScaledObject": resource(
        _KEDA,
        "ScaledObject",
        closed(
            {
                "scaleTargetRef": closed({"name": _TEXT}),
                "minReplicaCount": _COUNT,
                "maxReplicaCount": {**_COUNT, "minimum": 1},
                "triggers": listed(_TRIGGER),
            },
            cooldownPeriod=_COUNT,
            fallback=closed({"failureThreshold": _COUNT, "replicas": _COUNT}),
        ),
    ),
    "TriggerAuthentication": resource(
        _KEDA,
        "TriggerAuthentication",
        closed(
            {
                "secretTargetRef": listed(
                    closed({"parameter": {"const": "token"}, "name": _TEXT, "key": _TEXT})
                )
            }
        ),
    ),
}
"""Kind to the schema of its manifest."""
