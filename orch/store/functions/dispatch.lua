-- dispatch: gives the free slots of a pool to waiting jobs, in fair order.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] pool string which pool
-- ARGV[2] most integer at most so many, 1 to 1,000
-- ARGV[3] policy string `fair` or `strict`, aging_ms, `class:weight` words and settings that are not as by default, e.g.
--   `fair 60000 interactive:8 batch:1 key_running_max=2`
-- ARGV[4] actor string who calls
-- returns {"ok", incarnation, seq, dispatched, waiting}
-- flags: allow-oom
-- Late binding (SCH-2): no more leaves the queue than slots are free, so a late job of a high class
-- still overtakes. Any number of callers is safe: the allowance is computed here, in one function.
local function policy_of(text)
  local policy = { classes = {}, key_running_max = 1, tenant_running_max = 0, session_policy = 'enqueue' }
  for word in string.gmatch(text, '%S+') do
    local name, weight = string.match(word, '^(.+):(%d+)$')
    if name then
      policy.classes[#policy.classes + 1] = { name = name, weight = tonumber(weight) }
    elseif tonumber(word) then
      policy.aging_ms = tonumber(word)
    elseif string.find(word, '=', 1, true) then
      local setting, value = string.match(word, '^([%l_]+)=(.+)$')
      policy[setting] = tonumber(value) or value
    else
      policy.strict = word == 'strict'
    end
  end
  return policy
end

-- The policy of the call, read once; nobody changes one, so the last that was read serves the next call too.
local last_text, last_policy
local function follow(call, text)
  if not call.policy then
    if text ~= last_text then last_text, last_policy = text, policy_of(text) end
    call.policy = last_policy
  end
  return call.policy
end

-- How long the head of a class has waited, in turns: an old head moves its class forward.
local function aged_turns(call, pool, class, aging_ms)
  local tenant = redis.call('ZRANGE', call.shard .. 'turn:' .. pool .. ':' .. class, 0, 0)[1]
  local head = tenant and redis.call('LINDEX', call.shard .. 'queue:' .. pool .. ':' .. class .. ':' .. tenant, 0)
  if not head then return 0 end
  local queued_at = redis.call('HGET', call.shard .. 'job:' .. string.match(head, '^[^:]+'), 'queued_at')
  return queued_at and math.max(0, call.now - tonumber(queued_at)) / aging_ms or 0
end

-- The class whose turn it is, and how many classes wait.
local function next_class(call, pool, policy)
  local waiting, best, best_rank, paused = {}, nil, nil, call.wishes[pool].paused
  for _, class in ipairs(policy.classes) do
    if not paused[class.name] and turn_of(call, pool, class.name).active > 0 then waiting[#waiting + 1] = class end
  end
  if policy.strict or #waiting < 2 then return waiting[1], #waiting end
  for _, class in ipairs(waiting) do
    local turn = turn_of(call, pool, class.name)
    turn.aged = turn.aged or aged_turns(call, pool, class.name, policy.aging_ms)
    local rank = turn.finish - turn.aged
    if not best or rank < best_rank then best, best_rank = class, rank end
  end
  return best, #waiting
end

-- The tenant whose turn it is takes `run` entries from the head of its line; one at its limit is parked instead.
local function pop_turn(call, pool, class, most, alone)
  local turn = turn_of(call, pool, class.name)
  local name = pool .. ':' .. class.name
  local head = redis.call('ZRANGE', call.shard .. 'turn:' .. name, 0, 0, 'WITHSCORES')
  local room = ties.tenant_room(call, head[1])
  local taken = { name = name, tenant = head[1], tag = tonumber(head[2]), empty = true, is_limited = room and true }
  if room == 0 then
    ties.park(call, taken.tenant, name)
    return {}, taken
  end
  local run = (alone and turn.active == 1) and math.min(most, room or most) or 1
  local line = call.shard .. 'queue:' .. name .. ':' .. head[1]
  local popped = redis.call('LPOP', line, run) or {}
  taken.empty = #popped < run or redis.call('LLEN', line) == 0
  return popped, taken
end

-- A tenant and a class pay for what was served, never for stale entries. The clocks stand where the last
-- job served began: who comes back later starts there and has no credit for the time it was away.
local function pay_turn(call, turn, taken, served, weight)
  local share = desired.tenant(call, taken.tenant).weight
  local finish = taken.tag + served / share
  turn.clock = math.max(turn.clock, finish - math.min(served, 1) / share)
  if taken.empty then
    local rested = call.shard .. 'rested:' .. taken.name
    redis.call('ZREM', call.shard .. 'turn:' .. taken.name, taken.tenant)
    redis.call('ZADD', rested, finish, taken.tenant)
    redis.call('ZREMRANGEBYSCORE', rested, '-inf', turn.clock)
    turn.active = turn.active - 1
    turn.seen[taken.tenant] = nil
  elseif served > 0 then
    redis.call('ZADD', call.shard .. 'turn:' .. taken.name, finish, taken.tenant)
  end
  if served > 0 then
    turn.pool_clock = math.max(turn.pool_clock, turn.finish + (served - 1) / weight)
    turn.finish = turn.finish + served / weight
  end
  -- Served or stale, what stood at the head is gone: the age of the class is another's.
  turn.aged = nil
  turn.dirty = true
end

-- The job becomes ready. A runner that claims in this very call takes it at once; the others find it in `ready`.
local function serve_one(call, pool, entry, is_limited, actor, claims)
  local id, ticket = string.match(entry, '^(.+):(%d+)$')
  local job = load_job(call, id, CLAIM_FIELDS)
  -- Canceled, paused or re-added meanwhile: this entry is an old ticket.
  if not stands_here(job, 'q', pool, ticket) then return 0 end
  if job.ties and ties.hold_back(call, job, entry) then return 0 end
  if is_limited then ties.count_tenant(job) end
  move(call, job, 'dispatch', actor, '{}')
  bump(call, 'depth:' .. pool .. ':' .. job.class, -1)
  if claims and #claims.offers < claims.most then
    claim_one(call, job, claims)
    claims.straight = claims.straight + 1
  else
    set(job, 'ticket', job.seq_text)
    redis.call('XADD', call.shard .. 'ready:' .. pool, '*', 'j', id .. ':' .. job.ticket)
    save(job)
  end
  return 1
end

local function serve(call, pool, taken, popped, actor, claims)
  local served = 0
  if claims and #popped > 0 then reserve(call, claims, math.min(#popped, claims.most - #claims.offers)) end
  for _, entry in ipairs(popped) do served = served + serve_one(call, pool, entry, taken.is_limited, actor, claims) end
  if served > 0 then count_waiting(call, taken.tenant, -served) end
  return served
end

local function save_turns(call, pool, policy, writes)
  for _, class in ipairs(policy.classes) do
    local turn = call.turns[pool .. ':' .. class.name]
    if turn and turn.dirty then
      writes[#writes + 1] = 'v:' .. class.name
      writes[#writes + 1] = turn.clock
      writes[#writes + 1] = 'c:' .. class.name
      writes[#writes + 1] = turn.finish
      writes[#writes + 1] = 'v'
      writes[#writes + 1] = turn.pool_clock
      fair_of(call, pool).v = turn.pool_clock
    end
  end
  if #writes > 0 then redis.call('HSET', call.shard .. 'fair:' .. pool, unpack(writes)) end
end

local function somebody_waits(call, pool, policy)
  local paused = call.wishes[pool].paused
  for _, class in ipairs(policy.classes) do
    if not paused[class.name] and turn_of(call, pool, class.name).active > 0 then return true end
  end
  return false
end

-- Returns how many became ready for others, and how many runners serve the pool. With `claims` a runner takes first what
-- was made ready before; with `random`, the unguessable part of a claim, the first job may go to a runner that rests. One
-- pool waits as a whole for a runner that has not said what it runs.
local function dispatch_pool(call, pool, most, policy, actor, claims, random)
  call.policy = policy
  local free, runners, waits, unclaimed = allowance(call, pool)
  local wishes = call.wishes[pool]
  if wishes.drains then return 0, runners end
  if claims and wishes.drained[claims.runner] then claims.most = 0 end
  if claims then claims.most = math.min(claims.most, call.room[claims.runner] or claims.most) end
  if claims and not waits and unclaimed > 0 then free = free + claim_ready(call, pool, claims) end
  local want = wishes.is_paused and 0 or math.min(free, most)
  if random and want > 0 and unclaimed == 0 then claims = begin_handing(call, pool, random) end
  local served_all, looked = 0, 0
  -- `looked` bounds the stale entries one call steps over: a million canceled jobs must not block it.
  while served_all < want and looked < want + DROPS_MAX do
    local class, waiting = next_class(call, pool, policy)
    if not class then break end
    local turn = turn_of(call, pool, class.name)
    local popped, taken = pop_turn(call, pool, class, want - served_all, waiting == 1)
    local served = serve(call, pool, taken, popped, actor, claims)
    pay_turn(call, turn, taken, served, class.weight)
    if taken.empty then
      unmark(call, pool, class.name, taken.tenant)
    elseif #popped > 0 then
      mark(call, 'oldest', pool, class.name, taken.tenant)
    end
    for _, other in ipairs(policy.classes) do turn_of(call, pool, other.name).pool_clock = turn.pool_clock end
    looked = looked + math.max(1, #popped)
    served_all = served_all + served
  end
  local is_backlogged = call.pools[pool]
  if want > 0 then is_backlogged = somebody_waits(call, pool, policy) end
  -- It stopped among stale entries: the next call goes on there, and nobody who rests would make it for a while.
  if is_backlogged and served_all < want and looked >= want + DROPS_MAX then wake_runners(call, pool, 1) end
  save_turns(call, pool, policy, measure_pace(call, pool, served_all, is_backlogged, runners > 0 and not waits))
  if claims and random then hand_over(call, pool, claims) end
  return served_all - (claims and claims.straight or 0), runners
end

-- Calls in who waited for what this call made free, then dispatches every pool whose line it lengthened; what
-- makes the fast path one call; `random` as above.
local function dispatch_touched(call, policy_text, actor, random)
  if #call.loose > 0 then
    follow(call, policy_text)
    ties.pass_on(call)
  end
  if not next(call.pools) then return end
  local policy, pools = follow(call, policy_text), {}
  for pool in pairs(call.pools) do pools[#pools + 1] = pool end
  table.sort(pools)
  for _, pool in ipairs(pools) do
    local ready, runners = dispatch_pool(call, pool, BATCH_MAX, policy, actor, nil, random)
    wake_runners(call, pool, math.min(ready, runners))
  end
end

local function dispatch(keys, argv)
  local shard, pool, most, policy_text, actor = keys[1], argv[1], tonumber(argv[2]), argv[3], argv[4]
  local call = begin(shard)
  local policy = follow(call, policy_text)
  ties.go_on_calling(call)
  ties.pass_on(call)
  local served, runners = dispatch_pool(call, pool, most, policy, actor)
  wake_runners(call, pool, math.min(served, runners))
  call.pools[pool] = nil
  dispatch_touched(call, policy_text, actor)
  local waiting = 0
  for _, class in ipairs(policy.classes) do waiting = waiting + turn_of(call, pool, class.name).active end
  return done(call, served, waiting)
end
