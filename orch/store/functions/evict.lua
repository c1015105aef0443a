-- evict: finds who gives way to a newcomer where a bound is reached, and ends that job. Part of admit.
-- returns jobs, or nil when nobody may be displaced
-- drop-lru: who has waited longest in the lowest class in which somebody waits, never in a higher class than the
-- newcomer's. shed-low-priority: the youngest of the lowest class, and only of one lower than the newcomer's.
-- Per class an index of tenants by the end of their lines (tally): begun by the first eviction of a pool, dropped
-- when its policy says reject. A tenant whose line may have changed is only marked, and looked at when it comes
-- first: what was looked at once is not looked at again before it changes.
local VICTIM_FIELDS = {
  'state', 'seq', 'ticket', 'attempt', 'epoch', 'pool', 'class', 'tenant', 'deadline', 'queued_at', 'arrival', 'wish',
  'ties'
}
-- Ages are exact integers below 2^53: milliseconds since this moment, then the arrival within the millisecond.
local AGE_BEGIN, AGE_STEP = 1600000000000, 4096
local KINDS = {
  ['drop-lru'] = { name = 'oldest', first = 'ZRANGE', at = 0, pop = 'LPOP', reach = 0 },
  ['shed-low-priority'] = { name = 'youngest', first = 'ZREVRANGE', at = -1, pop = 'RPOP', reach = 1 }
}

local function age_of(job)
  return (tonumber(job.queued_at) - AGE_BEGIN) * AGE_STEP + tonumber(job.arrival or '0') % AGE_STEP
end

-- The job at that end of a line; entries there that are nobody's place are dropped, as dispatch does, and as
-- many in one call. Nil when the line is empty, or false when more of them are left.
local function end_of_line(call, pool, class, tenant, kind)
  local line = call.shard .. 'queue:' .. pool .. ':' .. class .. ':' .. tenant
  while (call.dropped or 0) < DROPS_MAX do
    local entry = redis.call('LINDEX', line, kind.at)
    if not entry then return nil end
    local id, ticket = string.match(entry, '^(.+):(%d+)$')
    local job = load_job(call, id, VICTIM_FIELDS)
    -- An entry of a job that is long gone may name another's of the same id: that one stands in its own line.
    if stands_here(job, 'q', pool, ticket) and job.class == class and job.tenant == tenant then
      job.line = line
      return job
    end
    redis.call(kind.pop, line)
    call.dropped = (call.dropped or 0) + 1
  end
  return false
end

-- Only old tickets were left of its line: the tenant leaves the turn, as when dispatch finds that out.
local function leave_turn(call, pool, class, tenant)
  local name, turn = pool .. ':' .. class, turn_of(call, pool, class)
  local tag = redis.call('ZSCORE', call.shard .. 'turn:' .. name, tenant)
  unmark(call, pool, class, tenant)
  if not tag then return end
  redis.call('ZREM', call.shard .. 'turn:' .. name, tenant)
  redis.call('ZADD', call.shard .. 'rested:' .. name, tag, tenant)
  turn.active, turn.seen[tenant] = turn.active - 1, nil
end

local function rest_victims(call, pool)
  for _, class in ipairs(call.policy.classes) do
    local name = pool .. ':' .. class.name
    redis.call('DEL', victims_of(call, 'oldest', name), victims_of(call, 'youngest', name))
    call.marks[name] = nil
  end
  redis.call('HDEL', call.shard .. 'fair:' .. pool, 'evicts')
  fair_of(call, pool).evicts = nil
end

-- The index of a class holds exactly who waits in it; made anew where it was lost, or was another's.
local function index_victims(call, pool, class, kind)
  local name, fair = pool .. ':' .. class, fair_of(call, pool)
  if fair.evicts ~= kind.name then
    rest_victims(call, pool)
    redis.call('HSET', call.shard .. 'fair:' .. pool, 'evicts', kind.name)
    fair.evicts = kind.name
  end
  save_marks(call)
  local index, waiting = victims_of(call, kind.name, name), call.shard .. 'turn:' .. name
  if redis.call('ZCARD', index) == redis.call('ZCARD', waiting) then return index end
  redis.call('DEL', index)
  local tenants = redis.call('ZRANGE', waiting, 0, -1)
  for at = 1, #tenants, BATCH_MAX do
    local words = {}
    for n = at, math.min(#tenants, at + BATCH_MAX - 1) do
      words[#words + 1] = MARKS[kind.name]
      words[#words + 1] = tenants[n]
    end
    redis.call('ZADD', index, unpack(words))
  end
  return index
end

-- The oldest or youngest of a class, over all its tenants.
local function victim_in_class(call, pool, class, kind)
  local index = index_victims(call, pool, class, kind)
  local best, best_age
  for _ = 1, EVICTION_LOOKS_MAX do
    local first = redis.call(kind.first, index, 0, 0, 'WITHSCORES')
    if not first[1] then return best end
    local job = end_of_line(call, pool, class, first[1], kind)
    if job then
      local age = age_of(job)
      if tonumber(first[2]) == age then return job end
      redis.call('ZADD', index, int(age), first[1])
      local is_better = not best or (kind.at == 0 and age < best_age) or (kind.at == -1 and age > best_age)
      if is_better then best, best_age = job, age end
    elseif job == nil then
      leave_turn(call, pool, class, first[1])
    else
      return best
    end
  end
  return best
end

local function rank_of(call, class)
  for n, one in ipairs(call.policy.classes) do
    if one.name == class then return n end
  end
  return #call.policy.classes + 1
end

-- Who gives way at a bound of the class, the pool or the tenant; its scope is where room can be made.
local function victim_for(call, item, kind, scope)
  local pool, rank = item.pool, rank_of(call, item.class)
  for n = #call.policy.classes, rank + kind.reach, -1 do
    local class = call.policy.classes[n].name
    local job
    if scope == 'tenant' then
      job = end_of_line(call, pool, class, item.tenant, kind)
    elseif (scope == 'pool' or class == item.class) and counter_of(call, 'depth:' .. pool .. ':' .. class) > 0 then
      job = victim_in_class(call, pool, class, kind)
    end
    if job then return job end
  end
  return nil
end

-- One for each bound that is reached, unless one gives way at several. All or nobody.
local function victims_for(call, item, reached, policy)
  local kind, victims = KINDS[policy], {}
  if not kind then return nil end
  for _, bound in ipairs(reached) do
    -- In its own class a newcomer sheds nobody, and for a key nobody; then nobody else need be looked for.
    if bound.scope == 'key' or (bound.scope == 'queue' and kind.reach > 0) then return nil end
  end
  local has_class, has_any = false, false
  for _, bound in ipairs(reached) do
    local is_met = (bound.scope == 'queue' and has_class) or (bound.scope == 'pool' and has_any)
    local job = not is_met and victim_for(call, item, kind, bound.scope)
    if not is_met and not job then return nil end
    if job then
      victims[#victims + 1] = job
      has_any, has_class = true, has_class or job.class == item.class
    end
  end
  return victims
end

-- The newcomer's place was another's: that one ends here, and everybody who watches it is told.
local function evict(call, job, item, policy, actor)
  redis.call(KINDS[policy].pop, job.line)
  leave_line(call, job)
  move(call, job, 'evict', actor, '{"reason":"evicted","newcomer":"' .. item.id .. '","policy":"' .. policy .. '"}')
  set(job, 'outcome', 'canceled')
  finish(call, job)
  save(job)
end
