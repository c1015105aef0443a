"""Every key name of Orch, in one place.

All keys of a shard begin with the hash tag `{orch:N}:`, so one function call never leaves its slot.
Inside functions the same names are built from KEYS[1], which is `prefix`; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The key names of one shard."""

    shard: int = 0

    @property
    def prefix(self) -> str:
        """What every key of the shard begins with."""
        return f"{{orch:{self.shard}}}:"

    def _name(self, name: str) -> str:
        return self.prefix + name

    def job(self, job_id: str) -> str:
        """Hash: the state fields, the spec, and ledger entry n as field `n`."""
        return self._name(f"job:{job_id}")

    def output(self, job_id: str) -> str:
        """Stream: the tail of a job's output, entry `<i>-1` is piece i."""
        return self._name(f"out:{job_id}")

    def queue(self, pool: str, class_name: str, tenant: str) -> str:
        """List: id:ticket of jobs that wait, the next one first."""
        return self._name(f"queue:{pool}:{class_name}:{tenant}")

    def line(self, name: str) -> str:
        """As `queue`, by the name `pool:class:tenant` that a sweep uses."""
        return self._name(f"queue:{name}")

    def active(self, tenant: str, tie: str) -> str:
        """Set: who has a tie (`k:<key>`, `s:<session>`, `t`): ready and running jobs, and those called in."""
        return self._name(f"active:{tenant}:{tie}")

    def aside(self, tenant: str, tie: str) -> str:
        """List: id:ticket of queued jobs that wait for a tie, the next one first."""
        return self._name(f"aside:{tenant}:{tie}")

    def parked(self, tenant: str) -> str:
        """Set: `pool:class` in which the tenant has no turns now, because of its running limit."""
        return self._name(f"parked:{tenant}")

    def keyed(self, tenant: str, key: str) -> str:
        """Set: jobs with a concurrency key that have not ended."""
        return self._name(f"keyed:{tenant}:{key}")

    def session(self, tenant: str, session: str) -> str:
        """Sorted set: live jobs of a session by arrival."""
        return self._name(f"session:{tenant}:{session}")

    def sessions(self, tenant: str) -> str:
        """Sorted set: sessions that have live jobs, by the arrival of the last one."""
        return self._name(f"sessions:{tenant}")

    def ready(self, pool: str) -> str:
        """Stream: dispatched jobs of a pool, `j` = id:ticket; group `runners`."""
        return self._name(f"ready:{pool}")

    def wake(self, pool: str) -> str:
        """Stream: tokens, each wakes one idle runner; group `runners`."""
        return self._name(f"wake:{pool}")

    def inbox(self, instance: str) -> str:
        """Stream: what one runner is told (offer, cancel, pause, resume); group `runners`."""
        return self._name(f"inbox:{instance}")

    def resting(self, pool: str) -> str:
        """Sorted set: runners that take the next job as soon as it comes, by when they said so."""
        return self._name(f"resting:{pool}")

    def held(self, instance: str) -> str:
        """Hash: job id -> claim, what a runner holds."""
        return self._name(f"held:{instance}")

    def slots(self, pool: str) -> str:
        """Hash: runner -> slots; `?` before them until the runner has said what it runs (reclaim)."""
        return self._name(f"slots:{pool}")

    def jobs(self, tenant: str) -> str:
        """Sorted set: job ids by arrival."""
        return self._name(f"jobs:{tenant}")

    def dead(self, tenant: str) -> str:
        """Sorted set: dead letters in the order they died."""
        return self._name(f"dead:{tenant}")

    def affinity(self, tenant: str, session: str) -> str:
        """String: the pool of a session's last placed job, for an hour."""
        return self._name(f"affinity:{tenant}:{session}")

    def schedule(self, tenant: str, schedule_id: str) -> str:
        """Hash: what a schedule says, its revision, the time that is set, and what came of the last one."""
        return self._name(f"schedule:{tenant}:{schedule_id}")

    def schedules(self, tenant: str) -> str:
        """Sorted set: schedule ids by arrival."""
        return self._name(f"schedules:{tenant}")

    def answer(self, request_id: str) -> str:
        """String: the answer to a raw request, for ten minutes."""
        return self._name(f"answer:{request_id}")

    def command(self, command_id: str) -> str:
        """Hash: what became of a command, for seven days."""
        return self._name(f"command:{command_id}")

    @property
    def control(self) -> str:
        """Stream: commands of operators that no scheduler has settled; group `control`."""
        return self._name("control")

    @property
    def desired(self) -> str:
        """Hash: what operators want now; `rev` counts the commands applied."""
        return self._name("desired")

    @property
    def revisions(self) -> str:
        """Stream: the desired state has a new revision; every instance reads it."""
        return self._name("revisions")

    @property
    def acks(self) -> str:
        """Stream: what happened to commands, for who pushed them by hand."""
        return self._name("acks")

    @property
    def commands(self) -> str:
        """Sorted set: commands by the time they were applied or refused."""
        return self._name("commands")

    @property
    def open(self) -> str:
        """Sorted set: commands that are waited for, by revision."""
        return self._name("open")

    @property
    def canceling(self) -> str:
        """Sorted set: cancels by filter that are under way, by revision."""
        return self._name("canceling")

    def hooks(self, tenant: str) -> str:
        """Hash: webhook id -> JSON about it, its secret included."""
        return self._name(f"hooks:{tenant}")

    def posts(self, place: str) -> str:
        """Sorted set: deliveries that wait for the webhook `tenant:id`, by when they are due."""
        return self._name(f"posts:{place}")

    def tries(self, place: str) -> str:
        """Hash: delivery -> tries and JSON about the last, of those that wait and failed before."""
        return self._name(f"tries:{place}")

    def tally(self, place: str) -> str:
        """Hash: how many were delivered, failed, died, were dropped; `busy` until, `off` and why."""
        return self._name(f"tally:{place}")

    def delivered(self, place: str) -> str:
        """List: JSON about the newest deliveries that were taken."""
        return self._name(f"delivered:{place}")

    def undelivered(self, place: str) -> str:
        """List: JSON about the newest deliveries that were given up."""
        return self._name(f"undelivered:{place}")

    @property
    def webhooks(self) -> str:
        """Hash: webhook id -> tenant."""
        return self._name("webhooks")

    @property
    def unsent(self) -> str:
        """Sorted set: webhooks `tenant:id` by when their next delivery is due."""
        return self._name("unsent")

    @property
    def notices(self) -> str:
        """Stream: a webhook has something to deliver; group `notifier`."""
        return self._name("notices")

    @property
    def requests(self) -> str:
        """Stream: raw submissions; group `admission`."""
        return self._name("requests")

    @property
    def outcomes(self) -> str:
        """Stream: hints for outcomes to decide about; group `fallback`."""
        return self._name("outcomes")

    @property
    def alarm(self) -> str:
        """Stream: a timer became the earliest; group `scheduler`."""
        return self._name("alarm")

    @property
    def feed(self) -> str:
        """Stream: which jobs each call touched, for watchers."""
        return self._name("feed")

    @property
    def due(self) -> str:
        """Sorted set: kind:id:ticket by time."""
        return self._name("due")

    @property
    def astray(self) -> str:
        """Sorted set: id:ticket of queued jobs whose line has a gap, by the time they began to wait."""
        return self._name("astray")

    @property
    def calling(self) -> str:
        """Sorted set: tenant:tie whose next job is still to be called in, behind many stale entries."""
        return self._name("calling")

    @property
    def undecided(self) -> str:
        """Sorted set: id:seq of outcomes that wait for a decision."""
        return self._name("undecided")

    @property
    def beats(self) -> str:
        """Hash: instance -> beat counter; what is not in it is buried."""
        return self._name("beats")

    @property
    def seen(self) -> str:
        """Hash: instance -> server time of its last beat, for people; never judged by."""
        return self._name("seen")

    @property
    def instances(self) -> str:
        """Hash: instance -> JSON about it."""
        return self._name("instances")

    @property
    def buried(self) -> str:
        """Sorted set: runners that were buried within the hour, by when; no registration brings them back."""
        return self._name("buried")

    @property
    def pools(self) -> str:
        """Set: pools that exist."""
        return self._name("pools")

    @property
    def tenants(self) -> str:
        """Set: tenants that ever submitted."""
        return self._name("tenants")

    def rate(self, tenant: str) -> str:
        """String: tokens left in the tenant's bucket, and when; gone when the bucket is full."""
        return self._name(f"rate:{tenant}")

    @property
    def tokens(self) -> str:
        """Hash: token id -> JSON about it, with the SHA-256 of the token."""
        return self._name("tokens")

    @property
    def counters(self) -> str:
        """Hash: depth:<pool>:<class> queued, waits:<tenant> queued or scheduled, and how often one of them
        changed (moves)."""
        return self._name("counters")

    @property
    def meta(self) -> str:
        """Hash: run_id, incarnation, seq, schema, agent_key."""
        return self._name("meta")


OWNERS: dict[str, str] = {
    "job": "job",
    "out": "job",
    "idem": "job",
    "ready": "pool",
    "wake": "pool",
    "slots": "pool",
    "resting": "pool",
    "fair": "pool",
    "turn": "pool",
    "rested": "pool",
    "queue": "pool",
    "oldest": "pool",
    "youngest": "pool",
    "inbox": "instance",
    "held": "instance",
    "lastcall": "instance",
    "jobs": "tenant",
    "dead": "tenant",
    "affinity": "ttl",
    "hooks": "tenant",
    "posts": "tenant",
    "tries": "tenant",
    "tally": "tenant",
    "delivered": "tenant",
    "undelivered": "tenant",
    "schedule": "tenant",
    "schedules": "tenant",
    "active": "tenant",
    "aside": "tenant",
    "parked": "tenant",
    "keyed": "tenant",
    "session": "tenant",
    "sessions": "tenant",
    "answer": "ttl",
    "command": "ttl",
    "rate": "ttl",
    "retire": "shard",
    "control": "shard",
    "revisions": "shard",
    "acks": "shard",
    "commands": "shard",
    "open": "shard",
    "canceling": "shard",
    "webhooks": "shard",
    "unsent": "shard",
    "notices": "shard",
    "requests": "shard",
    "outcomes": "shard",
    "alarm": "shard",
    "feed": "shard",
    "due": "shard",
    "undecided": "shard",
    "astray": "shard",
    "calling": "shard",
    "beats": "shard",
    "seen": "shard",
    "instances": "shard",
    "buried": "shard",
    "pools": "shard",
    "tenants": "shard",
    "tokens": "shard",
    "counters": "shard",
    "desired": "shard",
    "meta": "shard",
}
"""Who removes a key of this family: every key has an owner or a time to live (a fixture checks it)."""
