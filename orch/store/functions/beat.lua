-- beat: says that an instance lives; never makes one live that was buried.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] instance string its id
-- returns {"ok", counter, known} | {"runner_over"}; known is 0 when the data about it were lost: it registers again
-- flags: allow-oom
local function beat(keys, argv)
  local shard, instance = keys[1], argv[1]
  if redis.call('HEXISTS', shard .. 'beats', instance) == 0 then return { 'runner_over' } end
  redis.call('HSET', shard .. 'seen', instance, int(now_ms()))
  local counter = redis.call('HINCRBY', shard .. 'beats', instance, 1)
  return { 'ok', counter, redis.call('HEXISTS', shard .. 'instances', instance) }
end
