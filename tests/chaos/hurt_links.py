"""What can happen between one process and the server."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Final

import anyio

from tests.chaos.house import House
from tests.chaos.nemesis import Act
from tests.chaos.proxy import ONCE, Link, Once, Proxy, Way

_WAIT_S: Final = 5.0
HOLES: Final[dict[str, set[Way]]] = {
    "hole_up": {"up"},
    "hole_down": {"down"},
    "hole_both": {"up", "down"},
}


class LinkFaults:
    """Faults of links; a link whose process is hurt otherwise is let alone."""

    def __init__(self, house: House, proxy: Proxy, lease_ms: int) -> None:
        self._house = house
        self._proxy = proxy
        self._lease_s = lease_ms / 1000
        self._taken: set[str] = set()

    def acts(self) -> dict[str, Act]:
        """By name."""
        return {
            **{fault: partial(self.once, fault) for fault in ONCE},
            **{name: partial(self.hole, name) for name in HOLES},
            "reset_all": self.reset_all,
            "delay": self.delay,
            "refuse": self.refuse,
        }

    def _choose(self, rng: Random) -> Link | None:
        hurt = {actor.name for actor in self._house.actors if actor.reserved or not actor.serves}
        links = self._proxy.links.items()
        free = [link for name, link in links if name not in hurt and name not in self._taken]
        return rng.choice(free) if free else None

    async def _during(self, link: Link, effect: str, seconds: float) -> bool:
        """Reserves the link's process for so long; whether the fault showed."""
        before = link.took_effect[effect]
        owners = [actor for actor in self._house.actors if actor.link is link]
        self._taken.add(link.name)
        for owner in owners:
            owner.reserved = True
        try:
            await anyio.sleep(seconds)
        finally:
            link.heal()
            self._taken.discard(link.name)
            for owner in owners:
                owner.reserved = False
        return link.took_effect[effect] > before

    async def once(self, fault: Once, rng: Random) -> bool:
        """A connection ends at its next bytes."""
        link = self._choose(rng)
        if link is None:
            return False
        before = link.took_effect[fault]
        link.armed = fault
        with anyio.move_on_after(_WAIT_S):
            while link.took_effect[fault] == before:
                await anyio.sleep(0.02)
        return link.took_effect[fault] > before

    async def reset_all(self, rng: Random) -> bool:
        """Every connection of one process is reset."""
        link = self._choose(rng)
        if link is None or not link.connections:
            return False
        link.reset_all()
        return True

    async def delay(self, rng: Random) -> bool:
        """Every chunk waits, up to a quarter of the lease each way."""
        link = self._choose(rng)
        if link is None:
            return False
        link.delay_s = rng.uniform(0.005, self._lease_s / 4)
        return await self._during(link, "delay", rng.uniform(0.5, 3.0))

    async def hole(self, name: str, rng: Random) -> bool:
        """Bytes of one way, or both, vanish for up to two leases, then arrive late or with a reset."""
        link = self._choose(rng)
        if link is None:
            return False
        link.holes = set(HOLES[name])
        effect = "hole_up" if "up" in link.holes else "hole_down"
        showed = await self._during(link, effect, self._lease_s * rng.uniform(0.5, 2.2))
        if rng.random() < 0.5:
            link.reset_all()
        return showed

    async def refuse(self, rng: Random) -> bool:
        """Nobody gets through: what is connected is reset, what connects is reset at once."""
        link = self._choose(rng)
        if link is None:
            return False
        link.refused = True
        link.reset_all()
        return await self._during(link, "refuse", self._lease_s * rng.uniform(0.3, 2.0))
