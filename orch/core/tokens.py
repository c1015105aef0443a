"""How a bearer token's text is built, recognised and compared; nothing here is random or stored.

`orch_<id>_<secret>_<check>`: the prefix lets scanners find a leaked one, the check lets a mistyped one be
refused before anybody is asked. The secret has 260 random bits, so one SHA-256 is enough at rest.
An attempt's own token, `orcha_<job>_<check of its claim under the house's key>`, is stored nowhere: who
knows the key and the claim in force can tell whether it is the one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from contracts.ids import is_id
from contracts.tokens import TokenRecord, TokenView

PREFIX: Final = "orch"
AGENT_PREFIX: Final = "orcha"
ID_CHARS: Final = 10
SECRET_CHARS: Final = 52
"""Five bits each: 260."""
_CHECK_CHARS: Final = 8
_TOKEN: Final = re.compile(
    rf"\A{PREFIX}_([0-9a-z]{{{ID_CHARS}}})_([0-9a-z]{{{SECRET_CHARS}}})_([0-9a-f]{{{_CHECK_CHARS}}})\Z"
)
_AGENT_TOKEN: Final = re.compile(rf"\A{AGENT_PREFIX}_([A-Za-z0-9._-]{{1,64}})_([0-9a-f]{{64}})\Z")
_BEARER: Final = re.compile(r"\A[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]{1,512}) *\Z")


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_CHECK_CHARS]


def token_text(token_id: str, secret: str) -> str:
    """The token of these parts."""
    body = f"{PREFIX}_{token_id}_{secret}"
    text = f"{body}_{_check(body)}"
    assert _TOKEN.match(text), "an id and a secret of the right length and letters"
    return text


def token_id_of(text: str) -> str | None:
    """The id inside a sound token; None for anything else."""
    match = _TOKEN.match(text)
    if match is None or not hmac.compare_digest(_check(text.rpartition("_")[0]), match[3]):
        return None
    return match[1]


def digest_of(text: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def bearer_of(header: str | None) -> str | None:
    """The token in an Authorization header; None when there is none of that kind."""
    match = _BEARER.match(header or "")
    return None if match is None else match[1]


def is_valid(record: TokenRecord, *, digest: str, now_ms: int) -> bool:
    """Whether a token of this digest is the one recorded, and has not expired."""
    is_same = hmac.compare_digest(record.sha256, digest)
    return is_same and (record.expires_at_ms is None or now_ms < record.expires_at_ms)


def view_of(token_id: str, record: TokenRecord) -> TokenView:
    """A record as people see it."""
    return TokenView(token_id=token_id, **record.model_dump(exclude={"sha256"}))


def agent_token(key: str, job_id: str, claim: str) -> str:
    """The token of one attempt: good while this claim is in force."""
    return f"{AGENT_PREFIX}_{job_id}_{_seal(key, job_id, claim)}"


def _seal(key: str, job_id: str, claim: str) -> str:
    message = f"orch/attempt/v1\0{job_id}\0{claim}"
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


def agent_job_of(text: str) -> str | None:
    """The job that an attempt's token is about; None for anything else."""
    match = _AGENT_TOKEN.match(text)
    return match[1] if match is not None and is_id(match[1]) else None


def is_agent_token(text: str, *, key: str, job_id: str, claim: str) -> bool:
    """Whether it is the token of the claim in force."""
    return hmac.compare_digest(text, agent_token(key, job_id, claim))
