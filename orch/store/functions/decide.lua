-- decide: carries out what fallback decided about an outcome, once.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] policy string as in dispatch
-- ARGV[2] count integer decisions, 1 to 1,000; then per decision 8 arguments:
-- ARGV[n] decision strings job id, undecided seq, stream entry, verb, delay_ms, payload JSON, failures, crashes
-- returns {"ok", incarnation, seq, {"ok" | "stale" …}}
-- flags: allow-oom
-- The seq names the very outcome that was judged: a second decision, or one about a job that was
-- canceled meanwhile, is stale. The hint is acknowledged in the same function.
local DECISION = 8

local function carry_out(call, job, verb, delay, payload)
  drop(job, 'ending')
  if verb == 'retry' then
    move(call, job, 'retry', 'fallback', payload)
    enqueue(call, job, true)
  elseif verb == 'backoff' then
    local due_at = call.now + delay
    move(call, job, 'backoff', 'fallback', with_member(payload, '"due_at_ms":' .. int(due_at)))
    park(call, job, 'later', due_at)
  elseif verb == 'block' then
    move(call, job, 'block', 'fallback', payload)
    set(job, 'block_reason', cjson.decode(payload).block_reason)
    tell_hooks(call, job)
  else
    record(call, job, 'job_failed', 'fallback', payload)
    move(call, job, 'fail', 'fallback', payload)
    local why = cjson.decode(payload)
    set(job, 'outcome', why.last)
    set(job, 'why', why.reason)
    local death = redis.call('HINCRBY', call.shard .. 'meta', 'deaths', 1)
    redis.call('ZADD', call.shard .. 'dead:' .. job.tenant, death, job.id)
    finish(call, job)
  end
end

local function decide_one(call, argv, base)
  local id, seq, entry = argv[base], argv[base + 1], argv[base + 2]
  local job = load_job(call, id)
  local verdict = 'stale'
  if job and job.undecided == seq then
    redis.call('ZREM', call.shard .. 'undecided', id .. ':' .. seq)
    drop(job, 'undecided')
    set(job, 'failures', argv[base + 6])
    set(job, 'crashes', argv[base + 7])
    carry_out(call, job, argv[base + 3], tonumber(argv[base + 4]), argv[base + 5])
    save(job)
    verdict = 'ok'
  else
    -- An entry that no job stands behind would be announced for ever.
    redis.call('ZREM', call.shard .. 'undecided', id .. ':' .. seq)
  end
  if entry ~= '' then
    redis.call('XACK', call.shard .. 'outcomes', 'fallback', entry)
    redis.call('XDEL', call.shard .. 'outcomes', entry)
  end
  return verdict
end

local function decide(keys, argv)
  local shard, policy, count = keys[1], argv[1], tonumber(argv[2])
  local call = begin(shard)
  local verdicts = {}
  for n = 1, count do verdicts[n] = decide_one(call, argv, 3 + (n - 1) * DECISION) end
  dispatch_touched(call, policy, 'fallback')
  return done(call, verdicts)
end
