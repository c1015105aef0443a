-- hand: a job that comes while a runner rests is claimed for it at once, and told in its inbox. Part of admit and cycle.
-- returns in the inbox `what` = offer, and the offer as claim.lua says it, by name: job, claim, attempt, spec, progress …
-- One at a time: a runner rests again when a cycle of its own has said that it heard of the last. What it has not heard
-- is told again in the reply, so a message that was lost costs time and never a job.
local HANDED_FIELDS = { 'job', 'claim', 'attempt', 'spec', 'progress', 'answer', 'wish', 'outs', 'epoch', 'waited', 'class' }

-- Who takes the next job of the pool, or nil. One that died a moment ago gets one job at most: it is not asked again.
local function begin_handing(call, pool, random)
  local since = '(' .. int(call.now - REST_MS_MAX)
  local resting = redis.call('ZRANGEBYSCORE', call.shard .. 'resting:' .. pool, since, '+inf', 'LIMIT', 0, RESTING_LOOKS)
  for _, runner in ipairs(resting) do
    if (call.room[runner] or 0) > 0 then return begin_claims(runner, 1, random) end
  end
end

local function hand_over(call, pool, claims)
  local offer, runner = claims.offers[1], claims.runner
  if not offer then return end
  hold(call, claims)
  local words = { 'what', 'offer' }
  for n, name in ipairs(HANDED_FIELDS) do
    words[#words + 1] = name
    words[#words + 1] = offer[n]
  end
  local entry = redis.call('XADD', call.shard .. 'inbox:' .. runner, 'MAXLEN', '~', INBOX_MAX, '*', unpack(words))
  redis.call('HSET', call.shard .. 'lastcall:' .. runner, 'handed', table.concat({ offer[9], entry, offer[1], offer[2] }, ' '))
  redis.call('ZREM', call.shard .. 'resting:' .. pool, runner)
end

-- What was handed to the runner and it has not heard of: the offer again, or {id, claim, epoch} when the claim is over:
-- only the runner can say that nothing runs under it. Nil when it has heard of all.
local function unheard(call, runner, handed, heard)
  local epoch, entry, id, claim = string.match(handed or '', '^(%d+) (%S+) (%S+) (%S+)$')
  if not epoch then return nil end
  if tonumber(epoch) <= heard then
    redis.call('XDEL', call.shard .. 'inbox:' .. runner, entry)
    return nil
  end
  local job = load_job(call, id)
  if judge_claim(job, claim) == 'ok' then return offer_of(job) end
  return { id, claim, epoch }
end

-- Whether the runner takes what comes next, told in its inbox.
local function rest(call, pool, runner, is_ready)
  local resting = call.shard .. 'resting:' .. pool
  if is_ready then redis.call('ZADD', resting, call.now_text, runner) else redis.call('ZREM', resting, runner) end
end
