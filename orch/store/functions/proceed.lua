-- proceed: goes on with the oldest cancel by filter, a bounded number of jobs further.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] most integer jobs to look at, 1 to 1,000
-- returns {"ok", incarnation, seq, left, {id of a job that ended…}} | {"none"}; left: cancels that are not at their end
-- flags: allow-oom
-- How far it came stands in the record, so any number of schedulers may go on with it, and a repeat goes on
-- too. Jobs that came after the command are not looked at: it ends.
local function filter_of(target, args)
  local filter = args.filter or {}
  local kind, first, second = string.match(target .. '::', '^([^:]*):([^:]*):([^:]*)')
  local wanted = {
    tenants = { filter.tenant, kind == 'tenant' and first or nil }, pools = { filter.pool, nil },
    state = filter.state, label = filter.label, name = filter.name
  }
  if kind == 'pool' or kind == 'queue' then wanted.pools[2] = first end
  if kind == 'queue' then wanted.class = second end
  return wanted
end

local function fits_spec(job, wanted)
  if not wanted.label and not wanted.name then return true end
  local spec = cjson.decode(redis.call('HGET', job.key, 'spec'))
  if wanted.name and spec.name ~= wanted.name then return false end
  if not wanted.label then return true end
  local name, value = string.match(wanted.label, '^([^=]*)=(.*)$')
  local labels = type(spec.labels) == 'table' and spec.labels or {}
  if name then return labels[name] == value end
  return labels[wanted.label] ~= nil
end

local function fits(job, wanted)
  if not job or not allowed(job, 'cancel') then return false end
  for _, pool in pairs(wanted.pools) do
    if job.pool ~= pool then return false end
  end
  if wanted.class and job.class ~= wanted.class then return false end
  if wanted.state and STATE_NAMES[job.state] ~= wanted.state then return false end
  return fits_spec(job, wanted)
end

-- The tenants that are still to be looked at, the one that was begun first.
local function tenants_from(shard, wanted, begun)
  local tenants, left = redis.call('SMEMBERS', shard .. 'tenants'), {}
  table.sort(tenants)
  for _, tenant in ipairs(tenants) do
    local meant = tenant >= begun
    for _, one in pairs(wanted.tenants) do meant = meant and tenant == one end
    if meant then left[#left + 1] = tenant end
  end
  return left
end

local function cancel_page(call, page, record, wanted, is_dry)
  for n = 1, #page, 2 do
    local job = load_job(call, page[n])
    record.after = page[n + 1]
    if fits(job, wanted) then
      record.matched = record.matched + 1
      if not is_dry then
        cancel_job(call, job, '"by":' .. quoted(record.by) .. ',"note":' .. quoted('control ' .. record.id), 'control')
        record.canceled = record.canceled + 1
      end
    end
  end
end

-- Looks at `most` jobs; whether all that the command is about have been seen.
local function cancel_some(call, record, most)
  local args = cjson.decode(record.args)
  local wanted, looked = filter_of(record.target, args), 0
  for _, tenant in ipairs(tenants_from(call.shard, wanted, record.tenant)) do
    if tenant ~= record.tenant then record.tenant, record.after = tenant, '0' end
    local page = redis.call('ZRANGEBYSCORE', call.shard .. 'jobs:' .. tenant, '(' .. record.after, record['until'],
      'WITHSCORES', 'LIMIT', 0, most - looked)
    cancel_page(call, page, record, wanted, args.dry_run)
    looked = looked + math.max(1, #page / 2)
    if looked >= most then return false end
  end
  return true
end

local RECORD = { 'target', 'args', 'by', 'until', 'tenant', 'after', 'matched', 'canceled' }

local function proceed(keys, argv)
  local shard, most = keys[1], tonumber(argv[1])
  local id = redis.call('ZRANGE', shard .. 'canceling', 0, 0)[1]
  if not id then return { 'none' } end
  local call = begin(shard)
  local key, record = shard .. 'command:' .. id, { id = id }
  local found = redis.call('HMGET', key, unpack(RECORD))
  for n, name in ipairs(RECORD) do record[name] = found[n] end
  local is_over = true
  if record.target then
    is_over = cancel_some(call, record, most)
    redis.call('HSET', key, 'tenant', record.tenant, 'after', record.after, 'matched', record.matched,
      'canceled', record.canceled)
    if is_over then close_command(call, id, 'done') end
  end
  if is_over then redis.call('ZREM', shard .. 'canceling', id) end
  return done(call, redis.call('ZCARD', shard .. 'canceling'), call.retired)
end
