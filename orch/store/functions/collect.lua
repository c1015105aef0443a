-- collect: gives a notifier the deliveries of some webhooks that are due, for its own until a time.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] hooks integer webhooks in this call, 1 to 100
-- ARGV[2] most integer deliveries of each, 1 to 100
-- ARGV[3] busy_ms integer how long nobody else gets them
-- returns {"ok", incarnation, seq, {hook…}, next_in_ms} | {"none", next_in_ms}; hook {tenant, id, JSON, busy_until, {post…}}, post {member, tries, name, entry, result, pool}; -1: nothing waits
-- flags: allow-oom
-- What a notifier took and never reported comes again when its time is over: at least once.
local function post_of(call, place, member)
  local seq, id = string.match(member, '^%a:(%d+):%d+:(.+)$')
  local tries = redis.call('HGET', call.shard .. 'tries:' .. place, member)
  -- The body of a later try was kept with the first.
  if tries then return { member, tries, '', '', '', '' } end
  local facts = redis.call('HMGET', call.shard .. 'job:' .. id, 'spec', seq, 'result', 'pool')
  local name = facts[1] and cjson.decode(facts[1]).name
  return { member, '', name or '', facts[2] or '', facts[3] or '', facts[4] or '' }
end

-- When the next delivery of a hook is due; a hook without any waits for nothing.
local function rest_hook(call, place)
  local first = redis.call('ZRANGE', call.shard .. 'posts:' .. place, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', call.shard .. 'unsent', first[2], place)
    if tonumber(first[2]) <= call.now then notice(call, place) end
  else
    redis.call('ZREM', call.shard .. 'unsent', place)
  end
end

local function collect_one(call, place, most, busy_ms)
  local tenant, id = string.match(place, '^([^:]+):([^:]+)$')
  local hook, tally = redis.call('HGET', call.shard .. 'hooks:' .. tenant, id), call.shard .. 'tally:' .. place
  if not hook or redis.call('HEXISTS', tally, 'off') == 1 then
    redis.call('ZREM', call.shard .. 'unsent', place)
    return nil
  end
  local posts = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', call.shard .. 'posts:' .. place, '-inf', call.now_text, 'LIMIT', 0, most)) do
    posts[#posts + 1] = post_of(call, place, member)
  end
  if #posts == 0 then
    redis.call('HDEL', tally, 'busy')
    rest_hook(call, place)
    return nil
  end
  local busy = int(call.now + busy_ms)
  redis.call('HSET', tally, 'busy', busy)
  redis.call('ZADD', call.shard .. 'unsent', busy, place)
  return { tenant, id, hook, busy, posts }
end

local function collect(keys, argv)
  local shard, hooks, most, busy_ms = keys[1], tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3])
  local call = begin(shard)
  local places = redis.call('ZRANGEBYSCORE', shard .. 'unsent', '-inf', call.now_text, 'LIMIT', 0, hooks)
  local found = {}
  for _, place in ipairs(places) do found[#found + 1] = collect_one(call, place, most, busy_ms) end
  local first = redis.call('ZRANGE', shard .. 'unsent', 0, 0, 'WITHSCORES')
  local next_in = first[2] and math.floor(math.max(0, tonumber(first[2]) - call.now)) or -1
  if #places == 0 then return { 'none', next_in } end
  return done(call, found, next_in)
end
