-- post: puts deliveries of one webhook into its line by hand: a test, or dead ones once more.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] tenant string whose
-- ARGV[2] id string the webhook
-- ARGV[3] count integer deliveries, 1 to 1,000; then per delivery 2 arguments:
-- ARGV[n] delivery strings member, and the JSON under which it is dead, empty for a test
-- returns {"ok", incarnation, seq, {"ok" | "stale" …}} | {"same"} | {"unknown"} | {"full", limit}; same: all of it is stale
-- A dead one keeps its id and its body, and gets all its tries again. The newest CALLS_KEPT tests are remembered: a
-- notifier may have sent one before its call, whose answer was lost, comes again.
local function is_new(shard, place, member, about)
  if redis.call('ZSCORE', shard .. 'posts:' .. place, member) then return false end
  if about ~= '' then return redis.call('LPOS', shard .. 'undelivered:' .. place, about) and true or false end
  return not said_to(redis.call('HGET', shard .. 'tally:' .. place, 'tests'), member)
end

-- What the call before, whose answer was lost, has queued does not count again. Each is looked for only where the
-- line is nearly full.
local function has_room(shard, place, count, argv)
  local room = POSTS_MAX - redis.call('ZCARD', shard .. 'posts:' .. place)
  if count <= room then return true end
  local new = 0
  for n = 1, count do
    if is_new(shard, place, argv[2 + 2 * n], argv[3 + 2 * n]) then new = new + 1 end
  end
  return new <= room
end

local function post_test(call, place, member)
  local tally = call.shard .. 'tally:' .. place
  local tests = redis.call('HGET', tally, 'tests')
  if said_to(tests, member) then return 'stale' end
  if redis.call('ZADD', call.shard .. 'posts:' .. place, 'NX', call.now_text, member) == 0 then return 'stale' end
  redis.call('HSET', tally, 'tests', remember(tests, member, '', CALLS_KEPT))
  return 'ok'
end

local function post_dead(call, place, member, about)
  if redis.call('LREM', call.shard .. 'undelivered:' .. place, 1, about) == 0 then return 'stale' end
  redis.call('HSET', call.shard .. 'tries:' .. place, member, '0 ' .. about)
  redis.call('ZADD', call.shard .. 'posts:' .. place, 'NX', call.now_text, member)
  return 'ok'
end

local function post(keys, argv)
  local shard, tenant, id, count = keys[1], argv[1], argv[2], tonumber(argv[3])
  local place = tenant .. ':' .. id
  if redis.call('HEXISTS', shard .. 'hooks:' .. tenant, id) == 0 then return { 'unknown' } end
  if not has_room(shard, place, count, argv) then return { 'full', POSTS_MAX } end
  local call, verdicts, is_known = begin(shard), {}, true
  for n = 1, count do
    local member, about = argv[2 + 2 * n], argv[3 + 2 * n]
    verdicts[n] = about == '' and post_test(call, place, member) or post_dead(call, place, member, about)
    is_known = is_known and verdicts[n] == 'stale'
  end
  if is_known then return { 'same' } end
  call_notifier(call, place, call.now_text)
  return done(call, verdicts)
end
