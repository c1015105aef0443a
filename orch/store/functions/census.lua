-- census: what a whole shard does now, in one look.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] heads integer lines of a class whose heads are looked at for the oldest; and undecided outcomes, at either end
-- ARGV[2] tenants integer tenants whose dead letters are counted
-- returns {"census", {pool…}, {number…}}; ages in ms, -1 of nothing
-- pool {name, drained, intake, dispatch, ready, runners, slots, held, free, {class, depth, age…}}
-- number: tenants, dead letters, timers, ms the first is late (or -1), undecided, age of the oldest, requests,
--   commands, open commands, webhooks with deliveries, burials, jobs taken from the dead, calls that the shard
--   has carried out
-- flags: no-writes allow-oom
local function pools_and_classes(call)
  local pools, found = redis.call('SMEMBERS', call.shard .. 'pools'), {}
  for _, pool in ipairs(pools) do found[pool] = {} end
  local counters = redis.call('HGETALL', call.shard .. 'counters')
  for i = 1, #counters, 2 do
    local pool, class = string.match(counters[i], '^depth:([^:]+):(.+)$')
    if pool then
      found[pool] = found[pool] or {}
      found[pool][class] = tonumber(counters[i + 1])
    end
  end
  return found
end

local function lines_of(call, pool, depths, heads)
  local lines = {}
  for _, class in ipairs(sorted_names(depths)) do
    local oldest = depths[class] > 0 and oldest_at(call, pool, class, heads)
    lines[#lines + 1] = class
    lines[#lines + 1] = depths[class]
    lines[#lines + 1] = oldest and math.max(0, call.now - oldest) or -1
  end
  return lines
end

local function count_pool(call, pool, depths, heads)
  local shard, scope = call.shard, 'pool:' .. pool
  local wanted = redis.call('HMGET', shard .. 'desired', '*:drain', scope .. ':drain', '*:intake', scope .. ':intake',
    '*:dispatch', scope .. ':dispatch')
  local slots, held, free = redis.call('HGETALL', shard .. 'slots:' .. pool), 0, 0
  local total, drained = 0, wanted[1] or wanted[2]
  for i = 1, #slots, 2 do
    local has = tonumber((string.gsub(slots[i + 1], '^%?', '')))
    local holds = redis.call('HLEN', shard .. 'held:' .. slots[i])
    total, held = total + has, held + holds
    if not drained and redis.call('HEXISTS', shard .. 'desired', 'runner:' .. slots[i] .. ':drain') == 0 then
      free = free + math.max(0, has - holds)
    end
  end
  return { pool, drained and 1 or 0, (wanted[3] or wanted[4]) and 1 or 0, (wanted[5] or wanted[6]) and 1 or 0,
    redis.call('XLEN', shard .. 'ready:' .. pool), #slots / 2, total, held, free, lines_of(call, pool, depths, heads) }
end

-- How long the first entry of a sorted set by time has been there: below 0 it is still to come.
local function age_of_first(call, name)
  local first = redis.call('ZRANGE', call.shard .. name, 0, 0, 'WITHSCORES')
  return first[2] and math.max(-1, call.now - tonumber(first[2])) or -1
end

-- How long the oldest undecided outcome waits. Its place in the set says only when its hint is repeated next, so the
-- ledger is asked; of a long set both ends, for those that were repeated go to the other one.
local function undecided_age(call, heads)
  local name, oldest = call.shard .. 'undecided', -1
  for _, range in ipairs({ { 0, heads - 1 }, { -heads, -1 } }) do
    local found = redis.call('ZRANGE', name, range[1], range[2], 'WITHSCORES')
    for i = 1, #found, 2 do
      local id, seq = string.match(found[i], '^(.+):(%d+)$')
      local entry = id and redis.call('HGET', call.shard .. 'job:' .. id, seq)
      local since = entry and string.match(entry, '^%d+') or found[i + 1]
      oldest = math.max(oldest, call.now - tonumber(since))
    end
  end
  return oldest
end

local function dead_letters(call, most)
  local dead, cursor, looked = 0, '0', 0
  repeat
    local page = redis.call('SSCAN', call.shard .. 'tenants', cursor, 'COUNT', most)
    cursor = page[1]
    for _, tenant in ipairs(page[2]) do
      looked = looked + 1
      if looked <= most then dead = dead + redis.call('ZCARD', call.shard .. 'dead:' .. tenant) end
    end
  until cursor == '0' or looked >= most
  return dead
end

local function census(keys, argv)
  local shard, heads, tenants = keys[1], tonumber(argv[1]), tonumber(argv[2])
  local call, pools = begin(shard), {}
  local found = pools_and_classes(call)
  for _, pool in ipairs(sorted_names(found)) do pools[#pools + 1] = count_pool(call, pool, found[pool], heads) end
  local meta = redis.call('HMGET', shard .. 'meta', 'burials', 'recovered', 'seq')
  local numbers = { redis.call('SCARD', shard .. 'tenants'), dead_letters(call, tenants),
    redis.call('ZCARD', shard .. 'due'), age_of_first(call, 'due'), redis.call('ZCARD', shard .. 'undecided'),
    undecided_age(call, heads), redis.call('XLEN', shard .. 'requests'), redis.call('XLEN', shard .. 'control'),
    redis.call('ZCARD', shard .. 'open'), redis.call('ZCARD', shard .. 'unsent'),
    tonumber(meta[1] or '0'), tonumber(meta[2] or '0'), tonumber(meta[3] or '0') }
  return { 'census', pools, numbers }
end
