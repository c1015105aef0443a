"""Ids that follow from other ids, so that doing a thing twice makes it once."""

from __future__ import annotations

import hashlib

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford base32, lower case: sorts like the number it writes."""


def base32(value: int, digits: int) -> str:
    """The lowest 5 * `digits` bits of `value`."""
    return "".join(ALPHABET[value >> shift & 31] for shift in range(5 * (digits - 1), -1, -5))


def job_id_of_entry(incarnation: int, entry_id: str) -> str:
    """The job id of a raw request that names none: the same entry, delivered again, is the same job.

    Time-ordered like any other id; the incarnation is part of it, because a stream that was lost and
    begun anew can give the same entry id again.
    """
    at_ms = int(entry_id.partition("-")[0])
    mark = hashlib.sha256(f"{incarnation}:{entry_id}".encode()).digest()
    return base32(at_ms, 9) + base32(int.from_bytes(mark[:7], "big"), 11)


def job_id_of_fire(tenant: str, schedule_id: str, fire_at_ms: int) -> str:
    """The id of the job that a schedule makes at one of its times: whoever fires it, as often as they try."""
    mark = hashlib.sha256(f"{tenant}:{schedule_id}:{fire_at_ms}".encode()).digest()
    return base32(fire_at_ms, 9) + base32(int.from_bytes(mark[:7], "big"), 11)
