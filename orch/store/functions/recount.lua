-- recount: sets counters of waiting jobs to what a whole sweep counted, if no job moved meanwhile.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] moves integer what the counter `moves` said when the sweep began
-- ARGV[2] count integer counters, 0 to 1,000; then per counter 2 arguments:
-- ARGV[n] counter strings `depth:pool:class` or `waits:tenant`, and how many wait
-- returns {"ok", incarnation, seq, {counter…}} | {"moved"}; the counters that were wrong
-- flags: allow-oom
-- While jobs move, a sweep counts some of them twice or never; then the counters stay until a quiet one.
local function recount(keys, argv)
  local shard, moves, count = keys[1], argv[1], tonumber(argv[2])
  local counters = shard .. 'counters'
  if (redis.call('HGET', counters, 'moves') or '0') ~= moves then return { 'moved' } end
  local call, wrong = begin(shard), {}
  for n = 1, count do
    local field, waiting = argv[1 + 2 * n], tonumber(argv[2 + 2 * n])
    if tonumber(redis.call('HGET', counters, field) or '0') ~= waiting then
      wrong[#wrong + 1] = field
      if waiting == 0 then redis.call('HDEL', counters, field) else redis.call('HSET', counters, field, waiting) end
    end
  end
  table.sort(wrong)
  return done(call, wrong)
end
