-- unschedule: removes a schedule with its timer; the jobs that it made are not touched.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] tenant string whose schedule
-- ARGV[2] id string of the schedule
-- returns {"ok", incarnation, seq} | {"none"}
-- flags: allow-oom
local function unschedule(keys, argv)
  local shard, tenant, id = keys[1], argv[1], argv[2]
  local call, place = begin(shard), tenant .. ':' .. id
  if redis.call('EXISTS', shard .. 'schedule:' .. place) == 0 then return { 'none' } end
  set_next(call, place, 0)
  redis.call('DEL', shard .. 'schedule:' .. place)
  redis.call('ZREM', shard .. 'schedules:' .. tenant, id)
  return done(call)
end
