-- survey: what stands in one pool now: runners, slots, what waits and what runs.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] pool string which pool
-- ARGV[2] heads integer lines of a class whose heads are looked at, 0 for no age
-- returns {"pool", drained, intake, dispatch, queued, ready, age, {runner…}} | {"unknown"}; age -1: nothing waits;
-- runner {instance, slots, held, drained, about}
-- flags: no-writes allow-oom
local function oldest_at(call, pool, class, heads, oldest)
  local name = pool .. ':' .. class
  for _, tenant in ipairs(redis.call('ZRANGE', call.shard .. 'turn:' .. name, 0, heads - 1)) do
    local entry = redis.call('LINDEX', call.shard .. 'queue:' .. name .. ':' .. tenant, 0)
    local at = entry and redis.call('HGET', call.shard .. 'job:' .. string.match(entry, '^[^:]+'), 'queued_at')
    if at and (not oldest or tonumber(at) < oldest) then oldest = tonumber(at) end
  end
  return oldest
end

-- How many wait in its lines, and since when the longest.
local function waiting_in(call, pool, heads)
  local counters, prefix = redis.call('HGETALL', call.shard .. 'counters'), 'depth:' .. pool .. ':'
  local queued, oldest = 0, nil
  for i = 1, #counters, 2 do
    if string.sub(counters[i], 1, #prefix) == prefix then
      local depth = tonumber(counters[i + 1])
      queued = queued + depth
      if depth > 0 and heads > 0 then
        oldest = oldest_at(call, pool, string.sub(counters[i], #prefix + 1), heads, oldest)
      end
    end
  end
  return queued, oldest and math.max(0, call.now - oldest) or -1
end

local function runners_of(call, pool)
  local slots, runners = redis.call('HGETALL', call.shard .. 'slots:' .. pool), {}
  for i = 1, #slots, 2 do
    local instance = slots[i]
    runners[#runners + 1] = { instance, tonumber((string.gsub(slots[i + 1], '^%?', ''))),
      redis.call('HLEN', call.shard .. 'held:' .. instance),
      redis.call('HEXISTS', call.shard .. 'desired', 'runner:' .. instance .. ':drain'),
      redis.call('HGET', call.shard .. 'instances', instance) or '{}' }
  end
  table.sort(runners, function(a, b) return a[1] < b[1] end)
  return runners
end

local function survey(keys, argv)
  local shard, pool, heads = keys[1], argv[1], tonumber(argv[2])
  if redis.call('SISMEMBER', shard .. 'pools', pool) == 0 then return { 'unknown' } end
  local call, scope = begin(shard), 'pool:' .. pool
  local wanted = redis.call('HMGET', shard .. 'desired', '*:drain', scope .. ':drain', '*:intake', scope .. ':intake',
    '*:dispatch', scope .. ':dispatch')
  local queued, age = waiting_in(call, pool, heads)
  return { 'pool', (wanted[1] or wanted[2]) and 1 or 0, (wanted[3] or wanted[4]) and 1 or 0,
    (wanted[5] or wanted[6]) and 1 or 0, queued, redis.call('XLEN', shard .. 'ready:' .. pool), age,
    runners_of(call, pool) }
end
