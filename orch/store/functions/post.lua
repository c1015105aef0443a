-- post: puts deliveries of one webhook into its line by hand: a test, or dead ones once more.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] tenant string whose
-- ARGV[2] id string the webhook
-- ARGV[3] count integer deliveries, 1 to 1,000; then per delivery 2 arguments:
-- ARGV[n] delivery strings member, and the JSON under which it is dead, empty for a test
-- returns {"ok", incarnation, seq, {"ok" | "stale" …}} | {"unknown"} | {"full", limit}
-- A dead one keeps its id and its body, and gets all its tries again.
local function post_one(call, place, member, about)
  local line = call.shard .. 'posts:' .. place
  if about ~= '' then
    if redis.call('LREM', call.shard .. 'undelivered:' .. place, 1, about) == 0 then return 'stale' end
    redis.call('HSET', call.shard .. 'tries:' .. place, member, '0 ' .. about)
  end
  return redis.call('ZADD', line, 'NX', call.now_text, member) == 1 and 'ok' or 'stale'
end

local function post(keys, argv)
  local shard, tenant, id, count = keys[1], argv[1], argv[2], tonumber(argv[3])
  local place = tenant .. ':' .. id
  if redis.call('HEXISTS', shard .. 'hooks:' .. tenant, id) == 0 then return { 'unknown' } end
  if redis.call('ZCARD', shard .. 'posts:' .. place) + count > POSTS_MAX then return { 'full', POSTS_MAX } end
  local call, verdicts = begin(shard), {}
  for n = 1, count do verdicts[n] = post_one(call, place, argv[2 + 2 * n], argv[3 + 2 * n]) end
  call_notifier(call, place, call.now_text)
  return done(call, verdicts)
end
