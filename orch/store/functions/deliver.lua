-- deliver: writes down how deliveries of one webhook went, each once, and when it is looked at again.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] tenant string whose
-- ARGV[2] id string the webhook
-- ARGV[3] busy string what collect said: only then is it free again
-- ARGV[4] off string why it is switched off from now on, or empty
-- ARGV[5] count integer deliveries, 1 to 100; then per delivery 5 arguments:
-- ARGV[n] delivery strings member, the tries it was sent after, verdict `delivered`, `again` or `dead`, delay_ms, JSON about it
-- returns {"ok", incarnation, seq, {"ok" | "stale" …}} | {"gone"}
-- flags: allow-oom
-- The tries are compared: of two notifiers that sent the same delivery, because the first was late, one counts.
-- Only with a delivery that dies of it is the webhook switched off: A says 410 and the answer is lost, B switches
-- the webhook on, A's call comes again, and its delivery is not in the line any more.
local DELIVERY = 5

local function keep_newest(call, list, about, most)
  redis.call('LPUSH', list, about)
  redis.call('LTRIM', list, 0, most - 1)
end

local function deliver_one(call, place, argv, base)
  local member, tries, verdict, delay, about =
    argv[base], tonumber(argv[base + 1]), argv[base + 2], tonumber(argv[base + 3]), argv[base + 4]
  local shard, line, past = call.shard, call.shard .. 'posts:' .. place, call.shard .. 'tries:' .. place
  local known = redis.call('HGET', past, member)
  local was = tonumber(known and string.match(known, '^%d+') or '0')
  if was ~= tries or not redis.call('ZSCORE', line, member) then return 'stale' end
  -- It died of this very try and was sent once more by hand, which gave it all its tries again: the call that
  -- said so, whose answer was lost, comes again.
  if known == '0 ' .. about then return 'stale' end
  if verdict == 'again' then
    redis.call('ZADD', line, int(call.now + delay), member)
    redis.call('HSET', past, member, int(tries + 1) .. ' ' .. about)
  else
    redis.call('ZREM', line, member)
    redis.call('HDEL', past, member)
    keep_newest(call, shard .. (verdict == 'dead' and 'undelivered:' or 'delivered:') .. place, about, POSTS_KEPT)
  end
  redis.call('HINCRBY', shard .. 'tally:' .. place, verdict, 1)
  return 'ok'
end

local function deliver(keys, argv)
  local shard, tenant, id, busy, off, count = keys[1], argv[1], argv[2], argv[3], argv[4], tonumber(argv[5])
  if redis.call('HEXISTS', shard .. 'hooks:' .. tenant, id) == 0 then return { 'gone' } end
  local call, place, verdicts = begin(shard), tenant .. ':' .. id, {}
  local tally = shard .. 'tally:' .. place
  local one_died = false
  for n = 1, count do
    local base = 6 + (n - 1) * DELIVERY
    verdicts[n] = deliver_one(call, place, argv, base)
    one_died = one_died or (verdicts[n] == 'ok' and argv[base + 2] == 'dead')
  end
  if off ~= '' and one_died then redis.call('HSET', tally, 'off', off) end
  if redis.call('HGET', tally, 'busy') == busy then
    redis.call('HDEL', tally, 'busy')
    rest_hook(call, place)
  end
  return done(call, verdicts)
end
