-- schedule: stores a schedule and sets its timer; what is there already as it is said stays untouched.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] tenant string whose schedule
-- ARGV[2] id string of the schedule
-- ARGV[3] about string JSON, what it says
-- ARGV[4] paused integer 0 or 1
-- ARGV[5] next_at integer the time to set, 0: none is left
-- ARGV[6] last string the last time carried out as the caller read it, empty: none
-- ARGV[7] if_revision string the revision it must have, 0: it must be new, empty: any
-- ARGV[8] pool string that must exist, empty: it is chosen for each job
-- returns {"ok", incarnation, seq, revision} | {"same", revision} | {"conflict", revision} | {"moved"} | {"no_pool"} | {"full"}
-- No flag on purpose, as in admit. The time to set was computed in Python from the last one that was carried
-- out; should one have been carried out since, the caller computes again: no time may come twice.
local function schedule(keys, argv)
  local shard, tenant, id, about, paused = keys[1], argv[1], argv[2], argv[3], argv[4]
  local next_at, last, if_revision, pool = tonumber(argv[5]), argv[6], argv[7], argv[8]
  local call, place = begin(shard), tenant .. ':' .. id
  local key = shard .. 'schedule:' .. place
  local found = redis.call('HMGET', key, 'rev', 'about', 'paused', 'last')
  local revision = found[1] or '0'
  if found[1] and found[2] == about and (found[3] or '0') == paused then return { 'same', tonumber(revision) } end
  if if_revision ~= '' and if_revision ~= revision then return { 'conflict', tonumber(revision) } end
  if (found[4] or '') ~= last then return { 'moved' } end
  if pool ~= '' and redis.call('SISMEMBER', shard .. 'pools', pool) == 0 then return { 'no_pool' } end
  if not found[1] then
    if redis.call('ZCARD', shard .. 'schedules:' .. tenant) >= SCHEDULES_MAX then return { 'full' } end
    local arrival = redis.call('HINCRBY', shard .. 'meta', 'schedules', 1)
    redis.call('HSET', key, 'made_at', call.now_text, 'arrival', arrival)
    redis.call('ZADD', shard .. 'schedules:' .. tenant, arrival, id)
    redis.call('SADD', shard .. 'tenants', tenant)
  end
  redis.call('HSET', key, 'rev', revision + 1, 'about', about, 'paused', paused, 'changed_at', call.now_text)
  set_next(call, place, paused == '0' and next_at or 0)
  return done(call, revision + 1)
end
