"""Every bound of Orch in one place, and the relations between them, asserted at import.

A bound here is a promise to callers (the error that meets it names it), so it is not configurable;
what an operator may tune lives in `defaults.py`, with its own minimum and maximum.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# Documents and values
SPEC_BYTES_MAX: Final = 1 * MIB
BODY_BYTES_MAX: Final = 2 * MIB
"""An HTTP body: one spec with room for JSON escapes; a batch has its own bound."""
BATCH_BODY_BYTES_MAX: Final = 16 * MIB
INLINE_BYTES_MAX: Final = 4 * KIB
"""A result or answer up to this size stands in the job hash, a larger one in a blob."""
EVENT_BYTES_MAX: Final = 1 * KIB
QUESTION_BYTES_MAX: Final = 8 * KIB
ANSWER_BYTES_MAX: Final = 4 * KIB
NAME_CHARS_MAX: Final = 200
OBJECTIVE_CHARS_MAX: Final = 8_000
LABELS_MAX: Final = 32
LABEL_CHARS_MAX: Final = 256
ID_CHARS_MAX: Final = 64
SHARD_MAX: Final = 1_023
"""The highest number of a shard."""
SHARDS_MAX: Final = 64
"""How many further shards one gateway answers for."""
ARGV_MAX: Final = 1_024
STEPS_MAX: Final = 256
JSON_DEPTH_MAX: Final = 64
JSON_KEYS_MAX: Final = 200_000
"""Keys of all objects in one body: a batch of 1,000 specs has room for 200 each."""
TARGET_BYTES_MAX: Final = 8 * KIB
"""Path and query of a request, as sent."""

# A job's evidence
EVENTS_PER_JOB_MAX: Final = 10_000
EVENTS_RESERVED: Final = 16
"""Kept free at the end of a ledger, so that terminal events always fit."""
ATTEMPTS_MAX: Final = 100
CRASHES_MAX: Final = 3
"""A job whose runner died this often is poison and becomes a dead letter (REA-2)."""
ORPHANS_PER_JOB_MAX: Final = 16

# Output
LOG_ENTRY_BYTES_MAX: Final = 8 * KIB
LOG_ENTRIES_PER_JOB_MAX: Final = 2_000
"""Kept for live readers (the tail); the whole output is a blob."""
OUTPUT_BLOB_BYTES_MAX: Final = 256 * MIB
ARTIFACT_BYTES_MAX: Final = 256 * MIB
ARTIFACTS_PER_JOB_MAX: Final = 256
ARTIFACT_NAME_CHARS_MAX: Final = 128

# Agents behind HTTP
HTTP_URL_CHARS_MAX: Final = 8 * KIB
HTTP_HEADERS_MAX: Final = 64
HTTP_HEADER_BYTES_MAX: Final = 8 * KIB
HTTP_REDIRECTS_MAX: Final = 5
HTTP_CONNECT_MS: Final = 10 * SECOND_MS
HTTP_CONNECT_MS_MAX: Final = 10 * MINUTE_MS
HTTP_SILENCE_MS_MAX: Final = 10 * MINUTE_MS
"""Without a byte for so long the endpoint counts as gone, whatever the job's own limits are."""
HTTP_ANSWER_BYTES_MAX: Final = OUTPUT_BLOB_BYTES_MAX
"""Of an answer, unpacked; what is kept of it is never more."""
HTTP_JSON_BYTES_MAX: Final = 16 * MIB
"""Of an answer that must be read as a whole."""
HTTP_EVENT_BYTES_MAX: Final = 1 * MIB
"""One event of a stream, or one line of it."""
HTTP_TEXT_CHARS_MAX: Final = 1 * MIB
"""Up to here the result carries the text of an answer; beyond it only the stored output does."""
HTTP_FAULT_BYTES_MAX: Final = LOG_ENTRY_BYTES_MAX
"""What is read of the body of a refusal."""
HTTP_SECRET_CHARS_MIN: Final = 8
"""Shorter values are not blotted out where an endpoint echoes them: they would hit ordinary words."""
HTTP_CONNECTIONS_MAX: Final = 1_000
HTTP_CONNECTIONS_KEPT_MAX: Final = 32
HTTP_NAMES_MAX: Final = 64
"""Entries of the settings that say which hosts and variables an http job may use."""
COUNT_MAX: Final = 2**53 - 1
"""Of a counter that somebody else reports: exact for every JSON reader."""

# Functions and streams
BATCH_ITEMS_MAX: Final = 1_000
"""Items of one function call; a call blocks the server, about 10 us an item."""
REPAIR_PAGE_KEYS: Final = 200
"""Keys that one call of a repair sweep looks at, about 10 us a key."""
REPAIR_EVERY_MS_MIN: Final = 10_000
REPAIR_EVERY_MS_MAX: Final = 600_000
"""Between two sweeps: twenty times as long as the last one took, or five if it proved nothing; within
these."""
REPAIR_LOOKS_MAX: Final = 100_000
"""Entries of lines that one such call compares when it looks for a lost place."""
SESSION_JOBS_MAX: Final = 1_000
"""Live jobs of one session; also how many jobs one call may replace."""
REQUESTS_BACKLOG_MAX: Final = 50_000
"""Raw submissions that may wait in `requests`; the youngest beyond it are refused, never trimmed unread."""
EVICTION_LOOKS_MAX: Final = 2_000
"""Lines that one call looks at to find who gives way; beyond it, the best found so far does."""
SUBMISSIONS_BYTES_MAX: Final = 8 * MIB
"""Documents that one call of admission takes together."""
SUBMISSIONS_WAITING_MAX: Final = 10_000
SUBMISSIONS_WAITING_BYTES_MAX: Final = 64 * MIB
"""What may wait in one gateway for the next call; above that, callers hear it at once."""
WAKE_TOKENS_MAX: Final = 256
INBOX_ENTRIES_MAX: Final = 1_024
FEED_ENTRIES_MAX: Final = 10_000
PAGE_ITEMS_MAX: Final = 500
LIST_JOBS_MAX: Final = 5_000
LIST_BYTES_MAX: Final = 16 * MIB
"""Jobs and bytes looked at for one page of jobs; its cursor goes on where it stopped."""
LIST_LABELS_MAX: Final = 8
DELIVERIES_MAX: Final = 3
"""A stream entry that was delivered this often and never settled is poison."""
PRIORITY_CLASSES_MAX: Final = 8
POOLS_MAX: Final = 64
CAPABILITIES_MAX: Final = 32
AFFINITY_TTL_MS: Final = HOUR_MS
"""How long a session is drawn to the pool of its last placed job."""

# The control stream
COMMAND_ARGS_BYTES_MAX: Final = 4 * KIB
COMMANDS_WAITING_MAX: Final = 1_000
"""Commands that stand in the stream unread; above that a push is refused."""
COMMANDS_OPEN_MAX: Final = 1_000
"""Commands whose acknowledgements are counted; of more, the oldest are not waited for."""
COMMANDS_LISTED_MAX: Final = 10_000
COMMAND_TTL_MS: Final = 7 * DAY_MS
"""How long a record is kept, and how long its id cannot be used again."""
ACKS_ENTRIES_MAX: Final = 10_000
REVISIONS_ENTRIES_MAX: Final = 64
DESIRED_FIELDS_MAX: Final = 10_000
CANCEL_LOOKS_MAX: Final = 250
"""Jobs that one call of a cancel by filter looks at."""
POOL_HEADS_MAX: Final = 100
"""Lines of a class whose heads are looked at for the oldest."""
CENSUS_TENANTS_MAX: Final = 1_000
"""Tenants whose dead letters one look at the whole shard counts."""
LIMIT_JOBS_MAX: Final = 100_000_000
LIMIT_RATE_MAX: Final = 1_000_000
LIMIT_WEIGHT_MAX: Final = 1_000
# Webhooks
WEBHOOKS_PER_TENANT_MAX: Final = 20
WEBHOOKS_MAX: Final = 10_000
WEBHOOK_RULES_MAX: Final = 64
"""Entries of webhook_hosts_allowed."""
WEBHOOK_URL_CHARS_MAX: Final = 2_000
WEBHOOK_POSTS_MAX: Final = 20_000
"""Deliveries of one webhook that wait; above it the newest are dropped and counted."""
WEBHOOK_POSTS_KEPT: Final = 500
"""Of one webhook: the newest that were delivered, and the newest dead ones, that are remembered."""
WEBHOOK_BATCH: Final = 16
"""Deliveries of one webhook that a notifier has in hand at once."""
WEBHOOK_SECRET_BYTES: Final = 32
WEBHOOK_ANSWER_BYTES_MAX: Final = 1 * KIB
"""Of a receiver's answer; more is not read."""

# Time
LEASE_MS_MIN: Final = 1_000
CLAIM_EVERY_MS: Final = 2_000
"""A runner with free slots claims this often even without a wake token (a token is only a hint)."""
BURIED_KEPT_MS: Final = HOUR_MS
"""How long a copy of a buried runner's registration may be under way and still not make it live."""
BURIED_MAX: Final = 10_000
"""Buried runners that the server knows; of more, the oldest are forgotten."""
REST_MS_MAX: Final = 5 * SECOND_MS
"""A runner that has not called for so long is handed nothing: it may be dead."""
RESTING_LOOKS: Final = 8
"""Resting runners that one submission looks at before it leaves the job to all of them."""
TICK_MS: Final = 1_000
"""No actor polls faster when nothing happens; but a reaper looks four times within the shortest lease."""
LIBRARY_LOOK_MS_MAX: Final = MINUTE_MS
"""A reaper looks at least so often which function libraries are in use."""
LIBRARY_BACK_MS: Final = DAY_MS
"""How long one stays that came back after it was removed: somebody uses it who is no instance."""
LIBRARIES_REMEMBERED: Final = 64
"""Removed libraries that a reaper would know again."""
TOKEN_CACHE_MS: Final = 2 * SECOND_MS
"""How long a gateway may go by what it knew of a token: a revoked one is refused after that at the latest."""
HEAD_WAIT_MS: Final = 10 * SECOND_MS
"""From the first byte of a request, or the opening of its connection, to the end of its headers."""
BODY_WAIT_MS: Final = 30 * SECOND_MS
"""From the headers to the last byte of the body."""
IDLE_WAIT_MS: Final = 30 * SECOND_MS
"""A connection without a request is closed after so long."""
UNREAD_BYTES_MAX: Final = 32 * MIB
"""Of a body that was refused already, read and thrown away so that the caller gets to see the answer."""
UNDECIDED_REANNOUNCE_MS: Final = 2_000
RECALL_MS_MAX: Final = 15_000
"""How long nothing is dispatched after the server came back, while a runner has not said what it runs: the
default lease. The reaper's burial ends the wait sooner where leases are shorter."""
INCARNATIONS_TOLD_MAX: Final = 16
"""The newest of those that the data went through, told to each client: should the data go back, it finds the
last that both had."""
ANSWER_KEY_TTL_MS: Final = 10 * MINUTE_MS
REPLY_DEADLINE_MS: Final = 30 * SECOND_MS
DEADLINE_AHEAD_MS_MAX: Final = 366 * DAY_MS
RETRY_AFTER_MS_START: Final = 1_000
"""What a refusal for load names while no dispatch of the pool was measured."""
RETRY_AFTER_MS_PAUSED: Final = 5_000
"""What it names while an operator has paused intake: when that ends cannot be computed."""
PACE_DISPATCHES: Final = 64
PACE_MS: Final = 30_000
"""The measured pace is that of about the last so many dispatches, and of at least so long a time."""

# Schedules
SCHEDULES_PER_TENANT_MAX: Final = 1_000
CRON_CHARS_MAX: Final = 200
TIME_ZONE_CHARS_MAX: Final = 64
MISSED_RUNS_MAX: Final = 100
"""Of the runs that a schedule missed so many are made up for, the newest; older ones are passed over."""
MISSED_AFTER_MS: Final = MINUTE_MS
"""A run that comes this late was missed; a later fire than that is no longer meant by `missed_runs: skip`."""
FIRE_AGAIN_MS: Final = 5 * SECOND_MS
"""A due schedule that was handed to a scheduler is handed out again after this, if nothing came of it."""
TIMES_SHOWN_MAX: Final = 100

CALLS_KEPT: Final = 16
"""Fires by hand of a schedule, tests of a webhook: so many are known again when their call is repeated."""

# Ports and files
SOCKET_PATH_BYTES_MAX: Final = 107
"""sun_path holds 108 bytes with its closing zero."""

# What `orch doctor --production-readiness` asks for
CLOCK_SKEW_MS_MAX: Final = SECOND_MS
"""Between this machine and the server: timers go by the server's clock, tokens and deadlines by ours."""
LISTPACK_VALUE_BYTES_MIN: Final = 1 * KIB
"""hash-max-listpack-value of the server: with less, a job's hash takes about twice the memory."""
DISK_FREE_BYTES_MIN: Final = 1024 * MIB
"""Left on the disk of the home."""
DISK_FREE_PERCENT_MIN: Final = 10
MEMORY_USED_PERCENT_MAX: Final = 80
"""Of the server's maxmemory: at the bound nothing new is admitted."""

FENCE_SHIFT: Final = 32
"""ORCH_FENCE = incarnation * 2**32 + n, below 2**53 so that JSON readers keep it exact."""
INCARNATION_MAX: Final = 2**21 - 1

# The lease, as fractions of lease_ms counted from the SEND time of the last acknowledged beat
BEAT_FRACTION: Final = 1 / 3
SOCKET_TIMEOUT_FRACTION: Final = 1 / 6
STOP_FRACTION: Final = 2 / 3
GUARD_FRACTION: Final = 5 / 6
BURIAL_FRACTION: Final = 1.0

assert BEAT_FRACTION + SOCKET_TIMEOUT_FRACTION < STOP_FRACTION, (
    "one slow beat must not stop an agent"
)
assert STOP_FRACTION < GUARD_FRACTION < BURIAL_FRACTION, "an agent stops before its job moves on"
assert INLINE_BYTES_MAX < SPEC_BYTES_MAX < BODY_BYTES_MAX < BATCH_BODY_BYTES_MAX
assert UNREAD_BYTES_MAX > BATCH_BODY_BYTES_MAX
assert EVENTS_RESERVED < EVENTS_PER_JOB_MAX
assert ANSWER_BYTES_MAX <= INLINE_BYTES_MAX
assert (INCARNATION_MAX << FENCE_SHIFT) + 2**FENCE_SHIFT - 1 < 2**53
