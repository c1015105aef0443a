"""What one life of a runner holds: the jobs it works on, and the endings that the store has not heard of."""

from __future__ import annotations

from actors.runner.attempt import Attempt
from actors.runner.decide import handed_back
from actors.runner.recent import Recent
from orch.core.handover import ClaimEnding, Offer

_STOPPED = frozenset({"stop", "handback"})


class Held:
    """Never more attempts than slots."""

    def __init__(self, slots: int, endings: list[ClaimEnding]) -> None:
        """`endings` are what the life before could not deliver: evidence now, for its claims are over."""
        self._slots = slots
        self.attempts: dict[str, Attempt] = {}
        """By claim."""
        self.draining = False
        """Operators want it to take nothing."""
        self.forced = 0
        """How many attempts a drain's deadline has stopped."""
        self.endings = endings
        """Told with the next call, and kept until it is answered."""
        self.recent = Recent()

    @property
    def room(self) -> int:
        """Slots without a job that it may give."""
        return 0 if self.draining else self._slots - len(self.attempts)

    def begin(self, offer: Offer, now_ms: int) -> Attempt:
        """A claimed job takes its slot."""
        attempt = Attempt(offer, now_ms, offer.wish == "pause")
        self.attempts[offer.claim] = attempt
        return attempt

    def end(self, attempt: Attempt, ending: ClaimEnding) -> None:
        """Its slot is free, and its end waits to be told."""
        del self.attempts[attempt.offer.claim]
        self.endings.append(ending)
        self.forced += attempt.drain_is_wished and ending.verb in _STOPPED
        self.recent.remember(attempt.working(), ending)

    def undelivered(self) -> list[ClaimEnding]:
        """For the next life to tell: results that came too late, and claims that were taken from it."""
        lost = [handed_back(one.offer.job_id, claim) for claim, one in self.attempts.items()]
        return self.endings + lost
