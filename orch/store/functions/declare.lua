-- declare: makes pools exist that no runner serves yet.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[n] pool string names, at most POOLS_MAX
-- returns {"ok", incarnation, seq}
local function declare(keys, argv)
  local shard = keys[1]
  local call = begin(shard)
  for n = 1, #argv do redis.call('SADD', shard .. 'pools', argv[n]) end
  return done(call)
end
