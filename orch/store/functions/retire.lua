-- retire: removes finished jobs whose retention is over, with everything they own.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] retention_ms integer how long a finished job is kept
-- ARGV[2] most integer at most so many, 1 to 1,000
-- ARGV[3] hours integer how many hours' sets one call looks at, 1 to 10,000
-- returns {"ok", incarnation, seq, removed}
-- flags: allow-oom
local function retire_one(call, id)
  local key = call.shard .. 'job:' .. id
  local owned = redis.call('HMGET', key, 'tenant', 'idem')
  if not owned[1] then return end
  redis.call('ZREM', call.shard .. 'jobs:' .. owned[1], id)
  redis.call('ZREM', call.shard .. 'dead:' .. owned[1], id)
  if owned[2] then redis.call('DEL', call.shard .. 'idem:' .. owned[1] .. ':' .. owned[2]) end
  redis.call('DEL', key, call.shard .. 'out:' .. id)
end

local function retire(keys, argv)
  local shard, retention, most, hours = keys[1], tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3])
  local call = begin(shard)
  -- A set named after the hour h holds jobs finished before h + 1.
  local newest = math.floor((call.now - retention) / 3600000) - 1
  local oldest = tonumber(redis.call('HGET', shard .. 'meta', 'retired') or int(newest - hours))
  local removed = 0
  -- A clock that was ahead and came back leaves `retired` ahead of it: no hour may be passed over for that.
  -- Nor may the time when no reaper ran: the marker walks, at most `hours` a call.
  local first = math.min(oldest, newest)
  for hour = first, math.min(newest, first + hours) do
    local bucket = shard .. 'retire:' .. int(hour)
    while removed < most do
      local id = redis.call('SPOP', bucket)
      if not id then break end
      retire_one(call, id)
      removed = removed + 1
    end
    if removed == most then break end
    redis.call('HSET', shard .. 'meta', 'retired', int(hour))
  end
  return done(call, removed)
end
