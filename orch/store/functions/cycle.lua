-- cycle: a runner's steady state in one call: endings, then new claims and dispatch (group commit).
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] runner string instance id
-- ARGV[2] pool string the pool it serves
-- ARGV[3] number integer the call's number, growing by one; the same number again gives the same jobs
-- ARGV[4] free integer slots without a job, 0 to 1,000
-- ARGV[5] random string the unguessable part of new claims
-- ARGV[6] policy string as in dispatch
-- ARGV[7] heard string the newest epoch that it was told of in its inbox, 0 for none; empty: hand it nothing
-- ARGV[8] count integer endings, 0 to 1,000; then per ending 6 arguments:
-- ARGV[n] ending strings verb, job id, claim, payload JSON, data, number
-- returns {"ok", incarnation, seq, {verdict…}, {offer…}, {} | handed} | {"runner_over"} | {"recalled"}; then reclaim first
-- flags: allow-oom
local ENDING = 6

-- A runner whose claim was taken from it by a burial has learned so, and stopped the work. A late result says
-- as much by itself.
local function keep_loss(call, verb, id, claim)
  local job = load_job(call, id)
  if not job or redis.call('HGET', job.key, 'taken') ~= claim then return end
  drop(job, 'taken')
  if verb ~= 'settle' and STATES[job.state]['cancel'] then
    record(call, job, 'lease_lost', 'runner', '{"claim":"' .. claim .. '"}')
  end
  save(job)
end

local function end_one(call, argv, base)
  local verb, id, claim, payload = argv[base], argv[base + 1], argv[base + 2], argv[base + 3]
  if verb == 'settle' then return settle_one(call, id, claim, payload, argv[base + 4]) end
  if verb == 'release' then return release_one(call, id, claim, payload) end
  if verb == 'ask' then return ask_one(call, id, claim, payload, argv[base + 4], tonumber(argv[base + 5])) end
  if verb == 'stop' then return stop_one(call, id, claim, payload) end
  return handback_one(call, id, claim, payload)
end

-- The jobs that an earlier call of the same number claimed and whose reply was lost. One that ended in
-- between never reached its runner: nothing of it runs, and nobody else would give its slot back.
local function offers_again(call, shard, runner, number, last)
  if tonumber(last[1] or '-1') < tonumber(number) then return nil end
  -- A copy of an older call that was late on the wire: nobody reads its reply, so nobody would run its jobs.
  if last[1] ~= number then return {} end
  local offers = {}
  for id in string.gmatch(last[2], '%S+') do
    local job = load_job(call, id)
    if job and job.state == 'r' and job.runner == runner and job.claim then
      offers[#offers + 1] = offer_of(job)
    else
      redis.call('HDEL', shard .. 'held:' .. runner, id)
    end
  end
  return offers
end

-- What was made ready before goes first; then the same picker serves this runner straight from the lines, and
-- the other runners through `ready`.
local function dispatch_and_claim(call, pool, claims, policy)
  local ready, runners = dispatch_pool(call, pool, BATCH_MAX, policy, 'runner', claims)
  hold(call, claims)
  wake_runners(call, pool, math.min(ready, runners))
  return claims.offers
end

local function cycle(keys, argv)
  local shard, runner, pool, number, free, random, policy_text, heard, count =
    keys[1], argv[1], argv[2], argv[3], tonumber(argv[4]), argv[5], argv[6], tonumber(argv[7]), tonumber(argv[8])
  local slots = redis.call('HGET', shard .. 'slots:' .. pool, runner)
  if not slots and redis.call('HEXISTS', shard .. 'beats', runner) == 0 then return { 'runner_over' } end
  if slots and is_recalled(slots) then return { 'recalled' } end
  local call = begin(shard)
  local verdicts = {}
  for n = 1, count do
    local base = 9 + (n - 1) * ENDING
    verdicts[n] = end_one(call, argv, base)
    if verdicts[n] == 'over' then
      local id, claim = argv[base + 1], argv[base + 2]
      keep_loss(call, argv[base], id, claim)
      -- Canceled or taken over: the slot was held until the runner said that the work had stopped.
      if redis.call('HGET', shard .. 'held:' .. runner, id) == claim then
        redis.call('HDEL', shard .. 'held:' .. runner, id)
      end
    end
  end
  free_slots(call)
  local policy = follow(call, policy_text)
  ties.pass_on(call)
  local last = redis.call('HMGET', shard .. 'lastcall:' .. runner, 'number', 'jobs', 'handed')
  local handed = heard and unheard(call, runner, last[3], heard)
  local offers = offers_again(call, shard, runner, number, last)
  if not offers then
    offers = dispatch_and_claim(call, pool, begin_claims(runner, free, random), policy)
    -- Other pools have work by what ended here.
    call.pools[pool] = nil
    dispatch_touched(call, policy_text, 'runner')
    local ids = {}
    for n, offer in ipairs(offers) do ids[n] = offer[1] end
    redis.call('HSET', shard .. 'lastcall:' .. runner, 'number', number, 'jobs', table.concat(ids, ' '),
      'handed', handed and last[3] or '')
    if heard then rest(call, pool, runner, free > #offers and not handed) end
  end
  return done(call, verdicts, offers, handed or {})
end
