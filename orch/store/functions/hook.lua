-- hook: registers a webhook, changes it if it is still what the caller saw, switches it on, or removes it.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] what string put, on or remove
-- ARGV[2] tenant string whose
-- ARGV[3] id string its id
-- ARGV[4] text string put: the JSON it shall be
-- ARGV[5] seen string put: the JSON that it replaces, empty for a new one
-- ARGV[6] most integer webhooks of one tenant
-- ARGV[7] all integer webhooks of the shard
-- returns {"ok", incarnation, seq} | {"same"} | {"unknown"} | {"full", limit} | {"changed"}
-- flags: allow-oom
-- Its secret stands in the JSON: whoever may read this Redis may sign for it.
local function put_hook(call, tenant, id, text)
  redis.call('HSET', call.shard .. 'hooks:' .. tenant, id, text)
  redis.call('HSET', call.shard .. 'webhooks', id, tenant)
  redis.call('SADD', call.shard .. 'tenants', tenant)
end

local function remove_hook(call, tenant, id)
  local shard, place = call.shard, tenant .. ':' .. id
  redis.call('HDEL', shard .. 'hooks:' .. tenant, id)
  redis.call('HDEL', shard .. 'webhooks', id)
  redis.call('ZREM', shard .. 'unsent', place)
  redis.call('DEL', shard .. 'posts:' .. place, shard .. 'tries:' .. place, shard .. 'tally:' .. place,
    shard .. 'delivered:' .. place, shard .. 'undelivered:' .. place)
end

-- Deliveries that waited meanwhile are made now.
local function switch_on(call, tenant, id)
  local place = tenant .. ':' .. id
  redis.call('HDEL', call.shard .. 'tally:' .. place, 'off')
  local first = redis.call('ZRANGE', call.shard .. 'posts:' .. place, 0, 0, 'WITHSCORES')
  if first[2] then call_notifier(call, place, first[2]) end
end

local function judge_put(shard, tenant, known, text, seen, most, all)
  if known then
    if known == text then return { 'same' } end
    if known ~= seen then return { 'changed' } end
  elseif seen ~= '' then
    return { 'unknown' }
  elseif redis.call('HLEN', shard .. 'hooks:' .. tenant) >= most then
    return { 'full', most }
  elseif redis.call('HLEN', shard .. 'webhooks') >= all then
    return { 'full', all }
  end
  return nil
end

local function hook(keys, argv)
  local shard, what, tenant, id, text, seen, most, all =
    keys[1], argv[1], argv[2], argv[3], argv[4], argv[5], tonumber(argv[6]), tonumber(argv[7])
  local known = redis.call('HGET', shard .. 'hooks:' .. tenant, id)
  local refused
  if what == 'put' then
    refused = judge_put(shard, tenant, known, text, seen, most, all)
  elseif not known then
    refused = { 'unknown' }
  elseif what == 'on' and redis.call('HEXISTS', shard .. 'tally:' .. tenant .. ':' .. id, 'off') == 0 then
    refused = { 'same' }
  end
  if refused then return refused end
  local call = begin(shard)
  if what == 'put' then
    put_hook(call, tenant, id, text)
  elseif what == 'on' then
    switch_on(call, tenant, id)
  else
    remove_hook(call, tenant, id)
  end
  return done(call)
end
