-- apply: carries the oldest command of the stream out, or refuses it: desired state, record, announcement.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] entry string stream entry id in `control`
-- ARGV[2] id string the command's id
-- ARGV[3] token string what `push` gave it, or empty
-- ARGV[4] command string its name
-- ARGV[5] target string whom it is about
-- ARGV[6] args string JSON
-- ARGV[7] by string who
-- ARGV[8] error string error body of one that is no valid command, or empty
-- ARGV[9] if_revision string the revision that the desired state must have, or empty
-- ARGV[10] pool string a pool that must exist, or empty
-- ARGV[11] runner string an instance that must live, or empty
-- ARGV[12] roles string whose instances must acknowledge, words
-- ARGV[13] only string of runners those of this pool or id, of supervisors those that run it; or empty
-- ARGV[14] kind string `works` when an instance reports the end of its work, `cancels`, or empty
-- ARGV[15] count integer fields to write, 0 to 4; then per field 2 arguments:
-- ARGV[n] write strings field, value; an empty value removes it, `+n` is the time in n ms
-- returns {"ok", incarnation, seq, status, revision} | {"same"} | {"behind", entry}
-- flags: allow-oom
-- The stream holds what nobody has settled, so its first entry is the next: however many schedulers read, in
-- whatever order, commands are applied in the order of the stream.
local function error_body(code, message, details)
  return '{' .. ERRORS[code] .. ',"message":' .. quoted(message) .. ',"request_id":"","details":' .. details .. '}'
end

local function judge_command(shard, error, if_revision, pool, runner, writes)
  if error ~= '' then return error end
  local revision = redis.call('HGET', shard .. 'desired', 'rev') or '0'
  if if_revision ~= '' and tonumber(if_revision) ~= tonumber(revision) then
    return error_body('REVISION_CONFLICT', 'the desired state has revision ' .. revision .. ', not ' .. if_revision,
      '{"if_revision":' .. if_revision .. ',"revision":' .. revision .. '}')
  end
  if pool ~= '' and redis.call('SISMEMBER', shard .. 'pools', pool) == 0 then
    return error_body('NOT_FOUND', 'there is no pool ' .. pool, '{"path":"target"}')
  end
  if runner ~= '' and redis.call('HEXISTS', shard .. 'beats', runner) == 0 then
    return error_body('NOT_FOUND', 'there is no runner ' .. runner, '{"path":"target"}')
  end
  if writes[1] and writes[1][2] ~= '' and redis.call('HLEN', shard .. 'desired') >= DESIRED_MAX then
    return error_body('QUEUE_FULL', 'the desired state holds as much as it may', '{"fields_max":' .. DESIRED_MAX .. '}')
  end
end

local function is_concerned(about, only)
  if only == '' then return true end
  if about.role == 'supervisor' then return string.find(' ' .. (about.serves or '') .. ' ', ' ' .. only .. ' ', 1, true) end
  return about.role ~= 'runner' or about.pool == only
end

-- Who lives and must acknowledge, in the order of their ids.
local function concerned(shard, roles, only)
  local instances, found = redis.call('HGETALL', shard .. 'instances'), {}
  for i = 1, #instances, 2 do
    local about = cjson.decode(instances[i + 1])
    local named = string.find(' ' .. roles .. ' ', ' ' .. about.role .. ' ', 1, true)
    if named and (instances[i] == only or is_concerned(about, only))
      and redis.call('HEXISTS', shard .. 'beats', instances[i]) == 1 then
      found[#found + 1] = instances[i]
    end
  end
  table.sort(found)
  return found
end

-- What another command had put there is over; a reload that somebody works on reports its own end.
local function supersede(call, field)
  local old = redis.call('HGET', call.shard .. 'desired', field)
  local status = old and redis.call('HGET', call.shard .. 'command:' .. old, 'status')
  if status ~= 'applied' then return end
  if field == 'reload' then
    for _, text in ipairs(redis.call('HVALS', call.shard .. 'command:' .. old)) do
      if text == 'acked' then return end
    end
  end
  close_command(call, old, 'done', '{"withdrawn":true}')
end

-- {field, value} of each write.
local function writes_of(argv, count)
  local writes = {}
  for n = 1, count do writes[n] = { argv[14 + 2 * n], argv[15 + 2 * n] } end
  return writes
end

-- Who was held back by what changes may go on.
local function loosen(call, field)
  local tenant, what = string.match(field, '^tenant:([^:]+):(.+)$')
  if what == 'running_max' or what == 'dispatch' then return ties.loosen(call, tenant, 't') end
  local owner, key = string.match(field, '^key:([^:]+):([^:]+):running_max$')
  if key then ties.loosen(call, owner, 'k:' .. key) end
end

local function write_desired(call, writes)
  local desired = call.shard .. 'desired'
  for _, write in ipairs(writes) do
    local field, value = write[1], write[2]
    if field == 'reload' or string.sub(field, -6) == ':drain' then supersede(call, field) end
    loosen(call, field)
    local ahead = string.match(value, '^%+(%d+)$')
    if ahead then value = int(call.now + tonumber(ahead)) end
    if value == '' then redis.call('HDEL', desired, field) else redis.call('HSET', desired, field, value) end
  end
  local revision = redis.call('HINCRBY', desired, 'rev', 1)
  redis.call('XADD', call.shard .. 'revisions', 'MAXLEN', '~', REVISIONS_MAX, '*', 'rev', revision)
  return revision
end

-- The acknowledgements that are waited for, or the end at once.
local function open_command(call, id, key, revision, expected, kind)
  for _, instance in ipairs(expected) do redis.call('HSET', key, 'i:' .. instance, 'waiting') end
  redis.call('HSET', key, 'status', 'applied', 'revision', revision, 'waits', #expected,
    'works', kind == 'works' and '1' or '0')
  tell_ack(call, id, 'applied', '')
  if kind == 'cancels' then
    redis.call('HSET', key, 'until', redis.call('HGET', call.shard .. 'meta', 'arrivals') or '0', 'tenant', '',
      'after', '0', 'matched', '0', 'canceled', '0')
    redis.call('ZADD', call.shard .. 'canceling', revision, id)
  elseif #expected > 0 then
    redis.call('ZADD', call.shard .. 'open', revision, id)
    redis.call('ZREMRANGEBYRANK', call.shard .. 'open', 0, -1 - OPEN_MAX)
  elseif redis.call('HGET', key, 'command') == 'reload' then
    close_command(call, id, 'failed', '{"reason":"no supervisor lives that could reload"}')
  else
    close_command(call, id, 'done')
  end
end

local function settle_command(call, entry, id)
  local shard = call.shard
  redis.call('ZADD', shard .. 'commands', call.now_text, id)
  redis.call('ZREMRANGEBYSCORE', shard .. 'commands', '-inf', int(call.now - COMMAND_TTL_MS))
  redis.call('ZREMRANGEBYRANK', shard .. 'commands', 0, -1 - LISTED_MAX)
  redis.call('PEXPIRE', shard .. 'command:' .. id, COMMAND_TTL_MS)
  if has_group(shard .. 'control', 'control') then redis.call('XACK', shard .. 'control', 'control', entry) end
  redis.call('XDEL', shard .. 'control', entry)
end

local function apply(keys, argv)
  local shard, entry, id, token, command, target, args, by =
    keys[1], argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]
  local error, if_revision, pool, runner, roles, only, kind, count =
    argv[8], argv[9], argv[10], argv[11], argv[12], argv[13], argv[14], tonumber(argv[15])
  -- One without a legal id of its own is recorded under that of its entry.
  if not is_as_read(shard .. 'control', entry, 'id', id == entry and '' or id) then return { 'same' } end
  local first = redis.call('XRANGE', shard .. 'control', '-', '+', 'COUNT', 1)[1][1]
  if first ~= entry then return { 'behind', first } end
  local known = redis.call('HMGET', shard .. 'command:' .. id, 'status', 'token')
  local call = begin(shard)
  if known[1] and not (known[1] == 'pushed' and known[2] == token) then
    error = error_body('DUPLICATE_COMMAND', 'a command ' .. id .. ' was given before', '{"id":' .. quoted(id) .. '}')
    id = entry
  end
  local writes = writes_of(argv, count)
  local refusal = judge_command(shard, error, if_revision, pool, runner, writes)
  local key = shard .. 'command:' .. id
  redis.call('HSETNX', key, 'at', call.now_text)
  redis.call('HSET', key, 'command', command, 'target', target, 'args', args, 'by', by, 'applied_at', call.now_text)
  local revision = 0
  if refusal then
    redis.call('HSET', key, 'error', refusal)
    close_command(call, id, 'refused')
  else
    revision = write_desired(call, writes)
    open_command(call, id, key, revision, concerned(shard, roles, only), kind)
  end
  settle_command(call, entry, id)
  return done(call, redis.call('HGET', key, 'status'), revision)
end
