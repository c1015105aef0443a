-- generated: the state table, the error catalogue and the limits of contracts, as Lua.
-- Written by `make generate`; a test compares it. Do not edit.
local STATES = {
  s = { due = 'q', reclaim = 'r', pause = 'p', cancel = 'X', expire = 'E' },
  q = { dispatch = 'y', reclaim = 'r', pause = 'p', evict = 'X', cancel = 'X', expire = 'E' },
  y = { unready = 'q', claim = 'r', reclaim = 'r', pause = 'p', cancel = 'X', expire = 'E' },
  r = { settle = 'C', release = 'r', bury = 'r', retry = 'q', backoff = 's', fail = 'F', block = 'b', ask = 'b', handback = 'q', stop = 'p', cancel = 'X', expire = 'E' },
  p = { resume = 'q', resume_later = 's', cancel = 'X', expire = 'E' },
  b = { answer = 'q', cancel = 'X', expire = 'E' },
  C = {},
  F = {},
  X = {},
  E = {},
}
local FIRST = { admit = 'q', schedule = 's' }
local STATE_NAMES = { s = 'scheduled', q = 'queued', y = 'ready', r = 'running', p = 'paused', b = 'blocked', C = 'completed', F = 'failed', X = 'canceled', E = 'expired' }
local ERRORS = {
  INVALID_SPEC = '"code":"INVALID_SPEC","hint":"Correct the key named in details.path; `orch init` writes a valid example.","retriable":false',
  INVALID_ID = '"code":"INVALID_ID","hint":"Use letters, digits, dot, dash and underscore, at most 64 characters.","retriable":false',
  INVALID_REQUEST = '"code":"INVALID_REQUEST","hint":"Compare it with contracts/openapi.json or the command\'s --help.","retriable":false',
  EXPIRED_CURSOR = '"code":"EXPIRED_CURSOR","hint":"Read the list again from its first page.","retriable":false',
  PAYLOAD_TOO_LARGE = '"code":"PAYLOAD_TOO_LARGE","hint":"Put large data into a file or a blob and pass a reference.","retriable":false',
  UNSUPPORTED_MEDIA_TYPE = '"code":"UNSUPPORTED_MEDIA_TYPE","hint":"Send the header Content-Type: application/json.","retriable":false',
  NOT_FOUND = '"code":"NOT_FOUND","hint":"`orch list` shows the jobs that exist, `orch schedule list` the schedules.","retriable":false',
  METHOD_NOT_ALLOWED = '"code":"METHOD_NOT_ALLOWED","hint":"Compare it with contracts/openapi.json.","retriable":false',
  RANGE_NOT_SATISFIABLE = '"code":"RANGE_NOT_SATISFIABLE","hint":"Ask for one range within the size, or for the whole file.","retriable":false',
  IDEMPOTENCY_CONFLICT = '"code":"IDEMPOTENCY_CONFLICT","hint":"Use a new key for new content.","retriable":false',
  INVALID_TRANSITION = '"code":"INVALID_TRANSITION","hint":"`orch explain ID` says what the job waits for.","retriable":false',
  ALREADY_ANSWERED = '"code":"ALREADY_ANSWERED","hint":"`orch status ID` shows the open question.","retriable":false',
  INVALID_ANSWER = '"code":"INVALID_ANSWER","hint":"`orch status ID` shows the kind and the options.","retriable":false',
  LEASE_OVER = '"code":"LEASE_OVER","hint":"Stop the work: another attempt owns the job.","retriable":false',
  LEASE_CONFLICT = '"code":"LEASE_CONFLICT","hint":"Wait until the holder finishes or its lease ends.","retriable":false',
  SESSION_BUSY = '"code":"SESSION_BUSY","hint":"Wait for details.job_id, or submit with session_policy enqueue, interrupt or replace.","retriable":false',
  DUPLICATE_COMMAND = '"code":"DUPLICATE_COMMAND","hint":"`orch control status ID` shows it; give a new command a new id.","retriable":false',
  QUEUE_FULL = '"code":"QUEUE_FULL","hint":"Try again after retry_after_ms.","retriable":true',
  RATE_LIMITED = '"code":"RATE_LIMITED","hint":"Try again after retry_after_ms.","retriable":true',
  INTAKE_PAUSED = '"code":"INTAKE_PAUSED","hint":"Try again later; an operator has to resume intake.","retriable":true',
  DEADLINE_UNMET = '"code":"DEADLINE_UNMET","hint":"Give a later deadline_ms.","retriable":false',
  NO_POOL = '"code":"NO_POOL","hint":"Start a runner with these capabilities, or ask for less.","retriable":true',
  LIMIT_REACHED = '"code":"LIMIT_REACHED","hint":"Remove one that is no longer needed.","retriable":false',
  REVISION_CONFLICT = '"code":"REVISION_CONFLICT","hint":"Read it again, and send if_revision with the revision read.","retriable":false',
  UNAUTHENTICATED = '"code":"UNAUTHENTICATED","hint":"Set ORCH_TOKEN.","retriable":false',
  FORBIDDEN = '"code":"FORBIDDEN","hint":"Call the address in endpoint.json, not through another name.","retriable":false',
  TENANT_MISMATCH = '"code":"TENANT_MISMATCH","hint":"Leave tenant out or use the token\'s.","retriable":false',
  UNAVAILABLE = '"code":"UNAVAILABLE","hint":"`orch doctor` names what is missing; `orch up` starts a local stack.","retriable":true',
  HOME_IN_USE = '"code":"HOME_IN_USE","hint":"Stop the other stack (`orch down --home …`) or choose another --home.","retriable":false',
  DEPENDENCY_MISSING = '"code":"DEPENDENCY_MISSING","hint":"`orch doctor` names it and how to get it.","retriable":false',
  INVALID_CONFIG = '"code":"INVALID_CONFIG","hint":"docs/configuration.md lists every key.","retriable":false',
  TIMEOUT = '"code":"TIMEOUT","hint":"Wait longer with --timeout.","retriable":true',
  JOB_FAILED = '"code":"JOB_FAILED","hint":"`orch explain ID` says what happened; a dead letter can be replayed.","retriable":false',
  JOB_EXPIRED = '"code":"JOB_EXPIRED","hint":"Submit it again with a later deadline_ms.","retriable":false',
  INTERNAL = '"code":"INTERNAL","hint":"Report it with the request_id and the actors\' log.","retriable":false',
}
local EVENTS_MAX = 10000
local EVENTS_RESERVED = 16
local ORPHANS_MAX = 16
local OUT_MAX = 2000
local BATCH_MAX = 1000
local DROPS_MAX = 1000
local WAKE_MAX = 256
local REST_MS_MAX = 5000
local BURIED_KEPT_MS = 3600000
local BURIED_MAX = 10000
local RESTING_LOOKS = 8
local INBOX_MAX = 1024
local FEED_MAX = 10000
local ANSWER_TTL_MS = 600000
local FENCE = 4294967296
local LOOKS_MAX = 100000
local RECALL_MS_MAX = 15000
local SCHEDULES_MAX = 1000
local FIRE_AGAIN_MS = 5000
local TOLD_MAX = 16
local POSTS_MAX = 20000
local POSTS_KEPT = 500
local CALLS_KEPT = 16
local SESSION_JOBS_MAX = 1000
local COMMANDS_MAX = 1000
local COMMAND_TTL_MS = 604800000
local OPEN_MAX = 1000
local LISTED_MAX = 10000
local ACKS_MAX = 10000
local REVISIONS_MAX = 64
local DESIRED_MAX = 10000
local DAY_MS = 86400000
local EVICTION_LOOKS_MAX = 2000
local RETRY_AFTER_MS_START = 1000
local RETRY_AFTER_MS_PAUSED = 5000
local PACE_DISPATCHES = 64
local PACE_MS = 30000
local REQUESTS_MAX = 50000
local ID_CHARS_MAX = 64
local NUMBERS = { '1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', '16', '17', '18', '19', '20', '21', '22', '23', '24', '25', '26', '27', '28', '29', '30', '31', '32', '33', '34', '35', '36', '37', '38', '39', '40', '41', '42', '43', '44', '45', '46', '47', '48', '49', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59', '60', '61', '62', '63', '64' }
