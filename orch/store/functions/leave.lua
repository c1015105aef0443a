-- leave: an instance says goodbye; it must hold nothing any more.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] instance string its id
-- returns {"ok", incarnation, seq} | {"holds", jobs} | {"unknown"}
-- flags: allow-oom
local function leave(keys, argv)
  local shard, instance = keys[1], argv[1]
  local about = redis.call('HGET', shard .. 'instances', instance)
  if not about then return { 'unknown' } end
  local held = redis.call('HLEN', shard .. 'held:' .. instance)
  if held > 0 then return { 'holds', held } end
  local call = begin(shard)
  forget(call, instance, cjson.decode(about))
  return done(call)
end
