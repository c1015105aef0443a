"""What became of submissions, at every door of one process: numbers for its metrics.

Whoever asks a function to make a job tells it here: admission, the scheduler for its schedules, the replay of
dead letters, and a gateway that turns away before it asks. A refusal for load is counted twice in one step,
by its result and by its rule, so that a share of the one in the other is never above all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, Final

from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from contracts.schedules import Fate, Fired

_RESULTS: Final = MappingProxyType(
    {
        ErrorCode.IDEMPOTENCY_CONFLICT: "conflict",
        ErrorCode.DEADLINE_UNMET: "deadline",
        ErrorCode.INVALID_SPEC: "invalid",
        ErrorCode.INVALID_ID: "invalid",
        ErrorCode.PAYLOAD_TOO_LARGE: "invalid",
        ErrorCode.TENANT_MISMATCH: "invalid",
    }
)


class Submissions:
    """The counts of one process, each growing only."""

    def __init__(self, *, full_policy: str) -> None:
        self._full_policy = full_policy
        self.by_result: Counter[str] = Counter()
        """By contracts.metrics.SUBMISSION_RESULTS."""
        self.refused_for_load: Counter[str] = Counter()
        """By policy_label."""
        self.evicted: Counter[str] = Counter()
        """Jobs that gave way to newcomers, by full_policy."""

    def answered(self, answers: Iterable[Submitted | Refused]) -> None:
        """What admission said."""
        for one in answers:
            if isinstance(one, Submitted):
                self.by_result["duplicate" if one.duplicate else "accepted"] += 1
            elif one.policy_label is not None:
                self.turned_away(one.policy_label)
            else:
                self.by_result[_RESULTS.get(one.code, "other")] += 1

    def turned_away(self, policy_label: str, count: int = 1) -> None:
        """So many were refused for load."""
        self.by_result["load"] += count
        self.refused_for_load[policy_label] += count

    def fired(self, fired: Fired, *, is_copy: bool) -> None:
        """One time of a schedule. A time that was skipped or missed made no submission; a copy of a call that
        was carried out is answered with the first one's job."""
        if fired.result is Fate.FIRED:
            self.by_result["duplicate" if is_copy else "accepted"] += 1
        elif fired.result is Fate.REFUSED and fired.code is not None and not is_copy:
            label = self._rule_of(fired.code, fired.message or "")
            self.answered([Refused(fired.code, fired.message or "", policy_label=label)])

    def gave_way(self, flat: Sequence[Any]) -> None:
        """Policy, count, policy, count …, as the functions say it."""
        for policy, count in zip(flat[::2], flat[1::2], strict=True):
            self.evicted[str(policy)] += int(count)

    def _rule_of(self, code: ErrorCode, message: str) -> str | None:
        """Which rule refused the job of a schedule: what is kept of it is code and message."""
        match code:
            case ErrorCode.INTAKE_PAUSED:
                return "intake-paused"
            case ErrorCode.RATE_LIMITED:
                return "rate-limit"
            case ErrorCode.QUEUE_FULL if message.startswith("concurrency key "):
                return "key-quota"
            case ErrorCode.QUEUE_FULL if message.startswith("tenant "):
                return "tenant-quota"
            case ErrorCode.QUEUE_FULL:
                return self._full_policy
            case _:
                return None
