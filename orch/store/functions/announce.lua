-- announce: repeats the hint for outcomes that nobody decided about.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] older_ms integer undecided for at least so long
-- ARGV[2] again_ms integer when to repeat the repetition
-- ARGV[3] most integer at most so many, 1 to 1,000
-- returns {"ok", incarnation, seq, announced} | {"none"}
-- flags: allow-oom
local function announce(keys, argv)
  local shard, older, again, most = keys[1], tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3])
  local call = begin(shard)
  local now = call.now
  local waiting = shard .. 'undecided'
  local members = redis.call('ZRANGEBYSCORE', waiting, '-inf', int(now - older), 'LIMIT', 0, most)
  if #members == 0 then return { 'none' } end
  for _, member in ipairs(members) do
    redis.call('XADD', shard .. 'outcomes', '*', 'j', member)
    redis.call('ZADD', waiting, int(now - older + again), member)
  end
  return done(call, #members)
end
