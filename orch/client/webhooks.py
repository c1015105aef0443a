"""For receivers: is this request really from Orch, and fresh? (Standard Webhooks)

`verify` needs the raw body, the headers and the secret that registration showed once. It says nothing about
whether the same webhook-id came before: deliveries come at least once, so keep the ids you have handled.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.webhooks import HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, TOLERANCE_MS
from orch.core.webhooks import signature
from orch.system import wall_ms


class WebhookError(ValueError):
    """Do not act on this request; answer 400 or 401."""


class HeaderMissing(WebhookError):
    """A header is missing or malformed: this is no webhook."""


class SignatureInvalid(WebhookError):
    """No signature fits: the body was changed, or another secret signed it."""


class TimestampOutside(WebhookError):
    """Signed, but too old or from the future: perhaps somebody repeats an old request."""


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance_ms: int = TOLERANCE_MS,
    now_ms: int | None = None,
) -> dict[str, Any]:
    """The JSON document of a request that is genuine and fresh; names of headers in any case.

    Several secrets may be given, while one is being replaced: any that fits is good. Compared in constant
    time.

    Raises:
        HeaderMissing, SignatureInvalid, TimestampOutside: all of them WebhookError.
    """
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, stamp, given = (
            found[name] for name in (HEADER_ID, HEADER_TIMESTAMP, HEADER_SIGNATURE)
        )
        timestamp = int(stamp)
    except (KeyError, ValueError) as error:
        raise HeaderMissing(
            "webhook-id, webhook-timestamp or webhook-signature is missing"
        ) from error
    keys = [secrets] if isinstance(secrets, str) else list(secrets)
    expected = [signature(secret, message_id, timestamp, body).encode() for secret in keys]
    offered = [word.encode() for word in given.split(" ") if word.startswith("v1,")]
    # Every pair is compared, so that the time says nothing about which one fits.
    fits = [hmac.compare_digest(one, other) for one in expected for other in offered]
    if not any(fits):
        raise SignatureInvalid("no signature fits the body and a secret")
    now = wall_ms() if now_ms is None else now_ms
    if abs(now - timestamp * 1000) > tolerance_ms:
        raise TimestampOutside(f"signed {abs(now - timestamp * 1000)} ms away from now")
    document = json.loads(body)
    assert isinstance(document, dict)
    return document
