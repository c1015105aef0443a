-- due: does what its time has come for: delayed jobs, retries, deadlines, questions nobody answered.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] most integer timers in this call, 1 to 1,000
-- ARGV[2] policy string as in dispatch
-- returns {"ok", incarnation, seq, handled, next_in_ms, {place…}, {expired…}} | {"none", next_in_ms}; -1: no timer is set; place: `tenant:schedule`
-- flags: allow-oom
local function expire(call, job, reason)
  local payload = '{"reason":"' .. reason .. '"'
  if job.state == 'r' and job.claim then
    payload = payload .. ',"outcome":"expired"'
    tell_runner(call, job, 'cancel')
  end
  leave_line(call, job)
  move(call, job, 'expire', 'scheduler', payload .. '}')
  if job.claim then drop(job, 'claim') end
  set(job, 'outcome', 'expired')
  drop(job, 'question')
  drop(job, 'question_id')
  drop(job, 'block_reason')
  finish(call, job)
  save(job)
end

local function due_one(call, kind, id, ticket)
  local job = load_job(call, id)
  if not job then return end
  if kind == 'deadline' then
    -- A question that lapsed in this same call has ended the job: nothing may be said of it any more.
    if not allowed(job, 'expire') then return end
    record(call, job, 'job_timeout', 'scheduler', '{"limit":"deadline_ms","value_ms":' .. (job.deadline or '0') .. '}')
    expire(call, job, 'deadline')
  elseif job.ticket ~= ticket then
    return
  elseif kind == 'later' and job.state == 's' then
    move(call, job, 'due', 'scheduler', '{}')
    drop(job, 'due_at')
    count_waiting(call, job.tenant, -1)
    enqueue(call, job, false)
    save(job)
  elseif kind == 'question' and job.state == 'b' then
    record(call, job, 'question_expired', 'scheduler', '{"question_id":"' .. job.question_id .. '"}')
    expire(call, job, 'question')
  end
end

-- When a schedule comes again is for a calendar to say, so it is handed to the caller, who fires it; and again a
-- while later, should the caller die before.
local function due_schedule(call, member, place, handed)
  local next_at = tonumber(redis.call('HGET', call.shard .. 'schedule:' .. place, 'next') or '0')
  if next_at == 0 then
    redis.call('ZREM', call.shard .. 'due', member)
  elseif next_at > call.now then
    redis.call('ZADD', call.shard .. 'due', int(next_at), member)
  else
    redis.call('ZADD', call.shard .. 'due', int(call.now + FIRE_AGAIN_MS), member)
    handed[#handed + 1] = place
  end
end

local function due(keys, argv)
  local shard, most, policy = keys[1], tonumber(argv[1]), argv[2]
  local call = begin(shard)
  local timers = shard .. 'due'
  local members = redis.call('ZRANGEBYSCORE', timers, '-inf', int(call.now), 'LIMIT', 0, most)
  local handed = {}
  for _, member in ipairs(members) do
    local kind, id, ticket = string.match(member, '^(%a+):(.+):(%d+)$')
    if kind == 'cron' then
      due_schedule(call, member, id, handed)
    else
      redis.call('ZREM', timers, member)
      due_one(call, kind, id, ticket)
    end
  end
  if #members > 0 then dispatch_touched(call, policy, 'scheduler') end
  local first = redis.call('ZRANGE', timers, 0, 0, 'WITHSCORES')
  local next_in = first[2] and math.floor(math.max(0, tonumber(first[2]) - call.now)) or -1
  if #members == 0 then return { 'none', next_in } end
  return done(call, #members, next_in, handed, call.retired)
end
