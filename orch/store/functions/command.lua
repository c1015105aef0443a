-- command: the record of an operator's command, from whom it waits for until it is over. Part of apply, acknowledge, bury.
-- returns nothing; the record says it
-- An instance stands in the record as `i:<instance>`: `waiting`, then `acked` (it obeys), and where it has work
-- to do `done` or `failed` with a report; `gone` when it left or was buried.
local function tell_ack(call, id, what, instance)
  redis.call('XADD', call.shard .. 'acks', 'MAXLEN', '~', ACKS_MAX, '*', 'command', id, 'what', what,
    'instance', instance, 'at_ms', call.now_text)
end

local function close_command(call, id, status, outcome)
  local key = call.shard .. 'command:' .. id
  redis.call('HSET', key, 'status', status, 'ended_at', call.now_text)
  if outcome then redis.call('HSET', key, 'outcome', outcome) end
  redis.call('PEXPIRE', key, COMMAND_TTL_MS)
  redis.call('ZREM', call.shard .. 'open', id)
  tell_ack(call, id, status, '')
end

-- Whether nothing more is waited for from an instance that stands so.
local function is_settled(standing, works)
  return standing ~= 'waiting' and not (works == '1' and standing == 'acked')
end

-- From now on the instance stands so in the record. Late and repeated words change nothing.
local function stands(call, id, instance, standing)
  local key = call.shard .. 'command:' .. id
  local known = redis.call('HMGET', key, 'status', 'i:' .. instance, 'works', 'waits', 'command')
  if not known[1] then redis.call('ZREM', call.shard .. 'open', id) end
  if known[1] ~= 'applied' or not known[2] or known[2] == standing or is_settled(known[2], known[3]) then return end
  redis.call('HSET', key, 'i:' .. instance, standing)
  -- A reload that nobody is left to finish has not happened.
  local fails = string.sub(standing, 1, 6) == 'failed' or (standing == 'gone' and known[5] == 'reload')
  if fails then redis.call('HSET', key, 'failed', instance) end
  tell_ack(call, id, string.match(standing, '^%a+'), instance)
  if not is_settled(standing, known[3]) then return end
  local waits = tonumber(known[4]) - 1
  redis.call('HSET', key, 'waits', waits)
  if waits == 0 then close_command(call, id, redis.call('HEXISTS', key, 'failed') == 1 and 'failed' or 'done') end
end

-- An instance that left or was buried is not waited for.
local function excuse(call, instance)
  for _, id in ipairs(redis.call('ZRANGE', call.shard .. 'open', 0, -1)) do stands(call, id, instance, 'gone') end
end
