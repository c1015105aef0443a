"""The keeper: beats for one runner from its own thread and connection, so that user code cannot starve it.

Deadlines count from the SEND time of the last acknowledged beat: what the server counted, it counted
after that moment, so the guards always act before the reaper does (DESIGN, The lease).
"""

from __future__ import annotations

import threading

from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from contracts.limits import BEAT_FRACTION, SOCKET_TIMEOUT_FRACTION
from orch.ports import Heard
from orch.store.failures import has_moved, is_missing_function
from orch.store.keys import Keys
from orch.store.library import library
from orch.store.plain import client_to
from orch.store.whereabouts import doubt_place
from orch.system import monotonic_ms


class Keeper:
    """A beating thread; it tells what it hears from that thread."""

    def __init__(
        self,
        url: str,
        instance_id: str,
        heard: Heard,
        *,
        shard: int,
        lease_ms: int,
    ) -> None:
        self._instance_id = instance_id
        self._lease_ms = lease_ms
        self._heard = heard
        self._keys = Keys(shard)
        timeout_s = lease_ms * SOCKET_TIMEOUT_FRACTION / 1000
        self._client = client_to(
            url,
            self._keys.prefix,
            decode_responses=True,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begins to beat; the first beat goes out at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; returns when it is gone or hangs in a last read."""
        self._stopped.set()
        self._thread.join(timeout=1)
        self._client.close()

    def _run(self) -> None:
        period_s = self._lease_ms * BEAT_FRACTION / 1000
        while not self._stopped.is_set():
            sent_ms = monotonic_ms()
            beaten = self._beat()
            if beaten is None:
                # Not reached: sooner than a period, so that one lost packet does not stop an agent.
                self._stopped.wait(period_s / 4)
            elif beaten:
                self._heard.confirm(sent_ms, self._lease_ms)
                self._stopped.wait(period_s)
            else:
                self._heard.over()
                return

    def _beat(self) -> bool | None:
        """True: acknowledged; False: buried; None: not reached."""
        try:
            reply = self._client.execute_command(
                "FCALL", library().function("beat"), 1, self._keys.prefix, self._instance_id
            )
        except ResponseError as error:
            if is_missing_function(error):
                self._load()
            if has_moved(error):
                doubt_place(self._client.connection_pool.connection_kwargs)
                self._client.connection_pool.disconnect()
            return None
        except (RedisError, OSError):
            return None
        if reply[0] != "ok":
            return False
        if not reply[2]:
            self._heard.forgotten()
        return True

    def _load(self) -> None:
        try:
            self._client.execute_command("FUNCTION", "LOAD", "REPLACE", library().code)
        except (RedisError, OSError):
            return
