-- refuse: answers a raw request that is no valid spec, and settles its stream entry.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] entry string stream entry id in `requests`
-- ARGV[2] request string request id, or empty
-- ARGV[3] body string error body, JSON
-- returns {"ok", incarnation, seq} | {"same"}
-- flags: allow-oom
local function refuse(keys, argv)
  local shard, entry, request, body = keys[1], argv[1], argv[2], argv[3]
  -- Settled or handed on meanwhile: whoever has it now answers.
  if not request_waits(shard, entry, request) then return { 'same' } end
  if request ~= '' then redis.call('SET', shard .. 'answer:' .. request, body, 'PX', ANSWER_TTL_MS) end
  redis.call('XACK', shard .. 'requests', 'admission', entry)
  redis.call('XDEL', shard .. 'requests', entry)
  return done(begin(shard))
end
