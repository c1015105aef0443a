-- hello: greets a client on every connection and notices that the server is another incarnation.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] seen integer highest incarnation the client has seen, 0 at first
-- ARGV[2] schema integer data schema the client writes
-- returns {"ok", incarnation, seq, began, next_began} | {"newer_schema", schema}
-- flags: allow-oom
-- A run id that differs from the stored one means a restart, a failover or a restored backup. The seq at
-- which an incarnation began lets a client prove that writes acknowledged to it were lost.
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

local function hello(keys, argv)
  local shard, seen, schema = keys[1], tonumber(argv[1]), tonumber(argv[2])
  local meta = shard .. 'meta'
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local stored = redis.call('HMGET', meta, 'run_id', 'incarnation', 'seq', 'schema')
  local newest = tonumber(stored[4] or '0')
  if newest > schema then return { 'newer_schema', newest } end
  local incarnation = tonumber(stored[2] or '0')
  local seq = tonumber(stored[3] or '0')
  if stored[1] ~= run_id or incarnation < seen then
    incarnation = math.max(incarnation, seen) + 1
    redis.call('HSET', meta, 'run_id', run_id, 'incarnation', incarnation,
      'began:' .. incarnation, seq, 'schema', schema)
    -- A counter that went back with the data may stand where a reaper saw it before, and look like silence
    -- all the while: no counter of this incarnation is one of an earlier.
    for _, instance in ipairs(redis.call('HKEYS', shard .. 'beats')) do
      redis.call('HSET', shard .. 'beats', instance, int(incarnation * FENCE))
    end
    recall(shard)
    redis.call('HDEL', meta, 'began:' .. incarnation - BEGAN_KEPT)
  end
  local began = redis.call('HMGET', meta, 'began:' .. incarnation, 'began:' .. (seen + 1))
  return { 'ok', incarnation, seq, tonumber(began[1] or '0'), tonumber(began[2] or '-1') }
end
