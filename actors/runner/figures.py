"""What a runner tells operators in numbers.

A runner ends tens of thousands of small jobs a second, so numbers are taken once for each call to the store,
for all its jobs together; an attempt adds its duration to a list, and that is all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from contracts.outcomes import Outcome
from orch.core.handover import ClaimEnding, Judgement, Offer
from orch.telemetry.distribution import Distribution
from orch.telemetry.exemplars import Labels
from orch.telemetry.metrics import Metrics

_MICROS: Final = 1_000_000


class Figures:
    """The runner's metrics, bound once: no label is looked up per job."""

    def __init__(self, metrics: Metrics, *, pool: str, slots: int, classes: Sequence[str]) -> None:
        metrics.gauge("orch_runner_slots").labels(pool=pool).set(slots)
        self._pool = pool
        self._attempts = metrics.gauge("orch_runner_attempts").labels(pool=pool)
        self._draining = metrics.gauge("orch_runner_draining").labels(pool=pool)
        self._claims = metrics.counter("orch_runner_claims_total").labels(pool=pool)
        self._endings = metrics.counter("orch_runner_endings_total")
        # What comes first must be an increase too: a series that begins at 1 has none.
        outcomes = metrics.counter("orch_runner_outcomes_total")
        self._outcomes = {one: outcomes.labels(pool=pool, outcome=one) for one in Outcome}
        self._orphans = metrics.counter("orch_runner_orphaned_results_total")
        self._leases_lost = metrics.counter("orch_runner_leases_lost_total")
        self._seconds = metrics.histogram("orch_runner_attempt_seconds").labels(pool=pool)
        self._starts = metrics.histogram("orch_job_submit_to_start_seconds")
        self._starts_of: dict[str, Distribution] = {}
        for class_name in classes:
            self._starts_by(class_name)
        tokens = metrics.counter("orch_agent_tokens_total")
        self._tokens_in = tokens.labels(pool=pool, direction="in")
        self._tokens_out = tokens.labels(pool=pool, direction="out")
        self._cost = metrics.counter("orch_agent_cost_total").labels(pool=pool)
        self._took_s: list[float] = []
        """Of attempts that ended since the last call."""

    def drains(self, *, draining: bool) -> None:
        """Whether the runner takes nothing new."""
        self._draining.set(draining)

    def began(self, offers: Sequence[Offer]) -> None:
        """Attempts that begin; of first ones, how long their jobs had waited."""
        if not offers:
            return
        self._claims.inc(len(offers))
        waited_s: dict[str, list[float]] = {}
        for offer in offers:
            if offer.attempt == 1:
                waited_s.setdefault(offer.class_name, []).append(offer.waited_ms / 1000)
        for class_name, all_s in waited_s.items():
            self._starts_by(class_name).observe_all(all_s)

    def _starts_by(self, class_name: str) -> Distribution:
        starts = self._starts_of.get(class_name)
        if starts is None:
            starts = self._starts.labels(pool=self._pool, **{"class": class_name})
            self._starts_of[class_name] = starts
        return starts

    def holds(self, attempts: int) -> None:
        """How many jobs the runner holds now."""
        self._attempts.set(attempts)

    def ended(self, told: Iterable[tuple[ClaimEnding, Judgement]]) -> None:
        """What the store answered to the endings of one call."""
        seconds, self._took_s = self._took_s, []
        self._seconds.observe_all(seconds)
        counted = Counter((one.verb, judged, one.payload["outcome"]) for one, judged in told)
        for (verb, judged, outcome), count in counted.items():
            self._endings.labels(verb=verb, accepted=judged).inc(count)
            # `same`: an earlier call was accepted, and its answer never came; nobody counted it then.
            if judged in {"ok", "same"}:
                self._outcomes[Outcome(outcome)].inc(count)
            elif judged == "over" and verb == "settle":
                self._orphans.inc(count)

    def took(self, duration_ms: int, trace: Labels | None = None) -> None:
        """An attempt ended on this runner; `trace` is its span, as an exemplar."""
        if trace is None:
            self._took_s.append(duration_ms / 1000)
        else:
            self._seconds.observe(duration_ms / 1000, trace)

    def lease_lost(self) -> None:
        """The runner learned that it was buried."""
        self._leases_lost.inc()

    def used(self, now: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
        """What an attempt has used so far, and what it had said before: an endpoint tells sums, which do not
        shrink."""
        known = before or {}
        self._tokens_in.inc(_more("tokens_in", now, known))
        self._tokens_out.inc(_more("tokens_out", now, known))
        self._cost.inc(_more("cost_micros", now, known) / _MICROS)


def _more(name: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> int:
    return max(0, (now.get(name) or 0) - (before.get(name) or 0))
