-- hello: greets a client on every connection and notices that the server is another incarnation.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] seen integer highest incarnation the client has seen, 0 at first
-- ARGV[2] known string what `way` said when it was greeted last
-- ARGV[3] schema integer data schema the client writes
-- returns {"ok", incarnation, seq, run id, next_began, way} | {"newer_schema", schema}; way: the newest incarnations
-- of the data with the server's run id in each, `n:run n:run …`, newest first
-- flags: allow-oom
-- A run id that differs from the stored one means a restart, a failover or a restored backup. The seq at
-- which the incarnation after the client's began lets the client prove that writes acknowledged to it were
-- lost: had all survived, it could not lie below the highest seq that the client was told.
-- A runner may hold claims that the data no longer have: each is asked what it runs, and until all have
-- answered or are buried nothing is dispatched (reclaim).
local function recall(shard)
  redis.call('HSET', shard .. 'meta', 'recalled_at', int(now_ms()))
  for _, pool in ipairs(redis.call('SMEMBERS', shard .. 'pools')) do
    local slots = redis.call('HGETALL', shard .. 'slots:' .. pool)
    for i = 1, #slots, 2 do
      if not is_recalled(slots[i + 1]) then
        redis.call('HSET', shard .. 'slots:' .. pool, slots[i], '?' .. slots[i + 1])
      end
    end
  end
end

-- For clients that slept through so many restarts a loss can no longer be proven.
local BEGAN_KEPT = 1000

-- The first incarnation after the last that client and data have in common. Data that went back may have
-- forgotten some, and may have given their numbers again, to runs that the client never met.
local function began_after(shard, known, newest)
  local meta = shard .. 'meta'
  local first = newest + 1
  for number, run_id in string.gmatch(known, '(%d+):(%w+)') do
    first = tonumber(number)
    if redis.call('HGET', meta, 'run:' .. number) == run_id then
      first = first + 1
      break
    end
  end
  for incarnation = first, newest do
    local began = redis.call('HGET', meta, 'began:' .. incarnation)
    if began then return tonumber(began) end
  end
  return -1
end

-- A client is told of incarnations that it never met: it may be the only one that knows of a write in the newest
-- when the data go back behind all of them.
local function way_of(shard, newest)
  local way = {}
  for incarnation = newest, math.max(1, newest - TOLD_MAX + 1), -1 do
    local run_id = redis.call('HGET', shard .. 'meta', 'run:' .. incarnation)
    if run_id then way[#way + 1] = incarnation .. ':' .. run_id end
  end
  return table.concat(way, ' ')
end

local function begin_incarnation(shard, incarnation, run_id, schema)
  local meta = shard .. 'meta'
  local seq = redis.call('HGET', meta, 'seq') or '0'
  redis.call('HSET', meta, 'run_id', run_id, 'incarnation', incarnation, 'schema', schema,
    'began:' .. incarnation, seq, 'run:' .. incarnation, run_id)
  redis.call('HDEL', meta, 'began:' .. incarnation - BEGAN_KEPT, 'run:' .. incarnation - BEGAN_KEPT)
  -- A counter that went back with the data may stand where a reaper saw it before, and look like silence
  -- all the while: no counter of this incarnation is one of an earlier.
  for _, instance in ipairs(redis.call('HKEYS', shard .. 'beats')) do
    redis.call('HSET', shard .. 'beats', instance, int(incarnation * FENCE))
  end
  recall(shard)
end

local function hello(keys, argv)
  local shard, seen, known, schema = keys[1], tonumber(argv[1]), argv[2], tonumber(argv[3])
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local stored = redis.call('HMGET', shard .. 'meta', 'run_id', 'incarnation', 'seq', 'schema')
  local newest = tonumber(stored[4] or '0')
  if newest > schema then return { 'newer_schema', newest } end
  local incarnation = tonumber(stored[2] or '0')
  local began = began_after(shard, known, incarnation)
  local met = string.match(known, '^' .. seen .. ':(%w+)')
  local is_reused = seen == incarnation and met and met ~= stored[1]
  if stored[1] ~= run_id or incarnation < seen or is_reused then
    incarnation = math.max(incarnation, seen) + 1
    begin_incarnation(shard, incarnation, run_id, schema)
    if began < 0 then began = tonumber(stored[3] or '0') end
  elseif schema > newest then
    -- Also on a server that runs on: from here on the older version's writers are refused.
    redis.call('HSET', shard .. 'meta', 'schema', schema)
  end
  return { 'ok', incarnation, tonumber(stored[3] or '0'), run_id, began, way_of(shard, incarnation) }
end
