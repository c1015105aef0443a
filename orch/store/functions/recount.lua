-- recount: sets the counters of waiting jobs to what a whole sweep counted, if no job moved meanwhile.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] moves integer what the counter `moves` said when the sweep began
-- ARGV[2] count integer places, 0 to 1,000; then per place 2 arguments:
-- ARGV[n] place strings `pool:class`, queued jobs
-- returns {"ok", incarnation, seq, {place…}} | {"moved"}; the places whose counter was wrong
-- flags: allow-oom
-- While jobs move, a sweep counts some of them twice or never; then the counters stay until a quiet one.
local function recount(keys, argv)
  local shard, moves, count = keys[1], argv[1], tonumber(argv[2])
  local counters = shard .. 'counters'
  local was = pairs_of(redis.call('HGETALL', counters))
  if (was.moves or '0') ~= moves then return { 'moved' } end
  local call, wrong, is_counted = begin(shard), {}, {}
  for n = 1, count do
    local field, queued = 'depth:' .. argv[1 + 2 * n], tonumber(argv[2 + 2 * n])
    is_counted[field] = true
    if tonumber(was[field] or '0') ~= queued then
      redis.call('HSET', counters, field, queued)
      wrong[#wrong + 1] = argv[1 + 2 * n]
    end
  end
  for field, queued in pairs(was) do
    local place = string.match(field, '^depth:(.+)$')
    if place and not is_counted[field] and tonumber(queued) ~= 0 then
      redis.call('HDEL', counters, field)
      wrong[#wrong + 1] = place
    end
  end
  table.sort(wrong)
  return done(call, wrong)
end
