-- acknowledge: an instance obeys the desired state of a revision, and may report the end of one command's work.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] instance string its id
-- ARGV[2] revision integer the one that it obeys
-- ARGV[3] id string the command whose work has ended, or empty
-- ARGV[4] status string `done` or `failed`, for that command
-- ARGV[5] report string JSON object, for that command
-- returns {"ok", incarnation, seq} | {"unknown"}
-- flags: allow-oom
local function acknowledge(keys, argv)
  local shard, instance, revision, id, status, report = keys[1], argv[1], argv[2], argv[3], argv[4], argv[5]
  if redis.call('HEXISTS', shard .. 'beats', instance) == 0 then return { 'unknown' } end
  local call = begin(shard)
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', shard .. 'open', '-inf', revision)) do
    stands(call, one, instance, 'acked')
  end
  if id ~= '' then stands(call, id, instance, status .. ' ' .. report) end
  return done(call)
end
