-- repair: looks at a page of keys and mends every index that disagrees with the job hashes.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] cursor string where the last page ended, 0 at first
-- ARGV[2] most integer keys looked at, about so many, 1 to 1,000
-- ARGV[3] policy string as in dispatch
-- ARGV[n] lines strings `pool:class:tenant` or, of who stands aside, `tenant~tie`; their jobs are collected for realign
-- returns {"ok", incarnation, seq, cursor, {{index, name}…}, {line, queued…}, {line with a gap…}, {tenant, scheduled…}, {`tenant~tie` that jobs wait for…}, {state, jobs…}}; cursor 0 ends the sweep
-- Of who stands aside the line is `pool:class:tenant~tie`.
-- flags: allow-oom
-- Nothing is taken on trust but the job hash: after a lost index, a call that a server error cut in half, or
-- a restored backup, the sweep finds what is left of it.
local function mend_held(call, sweep, instance)
  local held, known = call.shard .. 'held:' .. instance, is_known(call, instance)
  local entries = redis.call('HGETALL', held)
  for i = 1, #entries, 2 do
    local job = load_job(call, entries[i])
    local is_in_force = job and job.state == 'r' and job.claim == entries[i + 1]
    -- What ended under its runner is held until the runner says that the work has stopped.
    local may_run = job and known and not STATES[job.state]['cancel']
    if not is_in_force and not may_run then
      redis.call('HDEL', held, entries[i])
      sweep.repairs[#sweep.repairs + 1] = { 'held', instance }
    end
  end
end

local function mend_slots(call, sweep, pool)
  for _, instance in ipairs(redis.call('HKEYS', call.shard .. 'slots:' .. pool)) do
    if redis.call('HEXISTS', call.shard .. 'beats', instance) == 0 then
      redis.call('HDEL', call.shard .. 'slots:' .. pool, instance)
      sweep.repairs[#sweep.repairs + 1] = { 'slots', instance }
    end
  end
end

local function mend_group(sweep, stream, group, instance)
  if has_group(stream, group) then return end
  ensure_group(stream, group)
  sweep.repairs[#sweep.repairs + 1] = { 'group', instance }
end

-- What registration made for each living instance.
local function mend_instances(call, sweep)
  local shard, abouts = call.shard, redis.call('HGETALL', call.shard .. 'instances')
  for i = 1, #abouts, 2 do
    local instance, about = abouts[i], cjson.decode(abouts[i + 1])
    local lives = redis.call('HEXISTS', shard .. 'beats', instance) == 1
    if lives and about.role == 'runner' then
      if redis.call('HSETNX', shard .. 'slots:' .. about.pool, instance, int(about.slots)) == 1 then
        sweep.repairs[#sweep.repairs + 1] = { 'slots', instance }
      end
      redis.call('SADD', shard .. 'pools', about.pool)
      mend_group(sweep, shard .. 'ready:' .. about.pool, 'runners', instance)
      mend_group(sweep, shard .. 'wake:' .. about.pool, 'runners', instance)
      mend_group(sweep, shard .. 'inbox:' .. instance, 'runners', instance)
    elseif lives and ROLE_STREAMS[about.role] then
      mend_group(sweep, shard .. ROLE_STREAMS[about.role], about.role, instance)
    end
  end
end

-- What its owner left behind.
local function mend_leftover(call, sweep, name, is_owned)
  if is_owned then return end
  redis.call('DEL', call.shard .. name)
  sweep.repairs[#sweep.repairs + 1] = { 'leftover', name }
end

local function has_job(call, id)
  return id and redis.call('EXISTS', call.shard .. 'job:' .. id) == 1
end

-- What waits for a webhook that is on must be looked at when it is due; without a webhook nothing waits.
local function mend_hook(call, sweep, place, name, family)
  local tenant, id = string.match(place, '^([^:]+):([^:]+)$')
  local is_there = redis.call('HEXISTS', call.shard .. 'hooks:' .. tenant, id) == 1
  mend_leftover(call, sweep, name, is_there)
  if family ~= 'posts' or not is_there then return end
  if redis.call('HEXISTS', call.shard .. 'tally:' .. place, 'off') == 1 then return end
  if redis.call('ZSCORE', call.shard .. 'unsent', place) then return end
  local first = redis.call('ZRANGE', call.shard .. name, 0, 0, 'WITHSCORES')
  redis.call('ZADD', call.shard .. 'unsent', first[2], place)
  notice(call, place)
  sweep.repairs[#sweep.repairs + 1] = { 'unsent', place }
end

-- Whose each webhook is.
local function mend_webhooks(call, sweep, tenant)
  local ids = redis.call('HKEYS', call.shard .. 'hooks:' .. tenant)
  table.sort(ids)
  for _, id in ipairs(ids) do
    if redis.call('HSETNX', call.shard .. 'webhooks', id, tenant) == 1 then
      sweep.repairs[#sweep.repairs + 1] = { 'webhooks', id }
    end
  end
end

-- A schedule's hash is the truth of its timer and of its place in the list. The timer of one that was handed out
-- stands a little after its time; far after it, the clock was ahead then and came back, and it would wait for that.
local function mend_schedule(call, sweep, place)
  local shard, tenant, id = call.shard, string.match(place, '^(.+):(.+)$')
  local found = redis.call('HMGET', shard .. 'schedule:' .. place, 'next', 'arrival')
  local timer = tonumber(redis.call('ZSCORE', shard .. 'due', timer_of(place)))
  if found[1] and (not timer or timer > math.max(call.now, tonumber(found[1])) + FIRE_AGAIN_MS) then
    set_next(call, place, tonumber(found[1]))
    sweep.repairs[#sweep.repairs + 1] = { 'due', place }
  end
  if not redis.call('ZSCORE', shard .. 'schedules:' .. tenant, id) then
    redis.call('ZADD', shard .. 'schedules:' .. tenant, found[2] or 0, id)
    redis.call('SADD', shard .. 'tenants', tenant)
    sweep.repairs[#sweep.repairs + 1] = { 'schedules', place }
  end
end

-- A name in the list of a schedule that is gone.
local function mend_schedules(call, sweep, tenant)
  local list = call.shard .. 'schedules:' .. tenant
  for _, id in ipairs(redis.call('ZRANGE', list, 0, -1)) do
    if redis.call('EXISTS', call.shard .. 'schedule:' .. tenant .. ':' .. id) == 0 then
      redis.call('ZREM', list, id)
      sweep.repairs[#sweep.repairs + 1] = { 'schedules', tenant .. ':' .. id }
    end
  end
end

-- Whoever has a tie is ready or runs, or waits in its line; who stands aside has nothing but, for a key, its session.
local function may_have(job, tie)
  if job.state ~= 'q' then return job.state == 'y' or job.state == 'r' end
  return tie ~= 't' and (not job.aside or (job.aside ~= tie and string.sub(tie, 1, 2) == 's:'))
end

local function mend_active(call, sweep, rest)
  local tenant, tie = string.match(rest, '^([^:]+):(.+)$')
  local active = call.shard .. 'active:' .. rest
  for _, id in ipairs(redis.call('SMEMBERS', active)) do
    local job = load_job(call, id)
    local has = job and job.ties and string.find(' ' .. job.ties .. ' ', ' ' .. tie .. ' ', 1, true)
    if not has or not may_have(job, tie) then
      redis.call('SREM', active, id)
      ties.loosen(call, tenant, tie)
      sweep.repairs[#sweep.repairs + 1] = { 'active', id }
    end
  end
end

-- Nobody is counted for a key that has ended, or never had it.
local function mend_keyed(call, sweep, rest)
  local key = string.match(rest, '^[^:]+:(.+)$')
  for _, id in ipairs(redis.call('SMEMBERS', call.shard .. 'keyed:' .. rest)) do
    local job = load_job(call, id)
    local is_live = job and STATES[job.state]['cancel'] and job.ties and ties.key_in(job.ties) == key
    if not is_live then
      redis.call('SREM', call.shard .. 'keyed:' .. rest, id)
      sweep.repairs[#sweep.repairs + 1] = { 'keyed', id }
    end
  end
end

local function mend_live(call, sweep, rest)
  for _, id in ipairs(redis.call('ZRANGE', call.shard .. 'session:' .. rest, 0, -1)) do
    local job = load_job(call, id)
    if not job or not STATES[job.state]['cancel'] then
      redis.call('ZREM', call.shard .. 'session:' .. rest, id)
      sweep.repairs[#sweep.repairs + 1] = { 'session', id }
    end
  end
end

local function mend_sessions(call, sweep, tenant)
  local all = call.shard .. 'sessions:' .. tenant
  for _, session in ipairs(redis.call('ZRANGE', all, 0, BATCH_MAX - 1)) do
    if redis.call('EXISTS', call.shard .. 'session:' .. tenant .. ':' .. session) == 0 then
      redis.call('ZREM', all, session)
      sweep.repairs[#sweep.repairs + 1] = { 'sessions', session }
    end
  end
end

local function mend_of_instance(call, sweep, instance, name)
  mend_leftover(call, sweep, name, is_known(call, instance))
end

-- Who mends the keys of a family, given the rest of the name, the name and the family. Others are left alone.
local MENDERS = {
  job = mend_job,
  held = mend_held,
  slots = mend_slots,
  instances = mend_instances,
  schedule = mend_schedule,
  schedules = mend_schedules,
  active = mend_active,
  keyed = mend_keyed,
  session = mend_live,
  sessions = mend_sessions,
  hooks = mend_webhooks,
  posts = mend_hook,
  tries = mend_hook,
  tally = mend_hook,
  delivered = mend_hook,
  undelivered = mend_hook,
  aside = function(_, sweep, rest)
    sweep.waits[#sweep.waits + 1] = (string.gsub(rest, ':', '~', 1))
  end,
  inbox = mend_of_instance,
  lastcall = mend_of_instance,
  out = function(call, sweep, id, name)
    mend_leftover(call, sweep, name, has_job(call, id))
  end,
  idem = function(call, sweep, _, name)
    mend_leftover(call, sweep, name, has_job(call, redis.call('GET', call.shard .. name)))
  end
}

local function mend_key(call, sweep, name)
  local family, rest = string.match(name, '^(%a+):?(.*)$')
  local mend = MENDERS[family]
  if mend then mend(call, sweep, rest, name, family) end
end

local function flat_of(map)
  local flat = {}
  for _, name in ipairs(sorted_names(map)) do
    flat[#flat + 1] = name
    flat[#flat + 1] = map[name]
  end
  return flat
end

local function repair(keys, argv)
  local shard, cursor, most, policy = keys[1], argv[1], tonumber(argv[2]), argv[3]
  local gathers = {}
  for n = 4, #argv do gathers[argv[n]] = true end
  local call, sweep = begin(shard), begin_page(gathers)
  follow(call, policy)
  local page = redis.call('SCAN', cursor, 'MATCH', shard .. '*', 'COUNT', most)
  -- The server gives them in the order of its table, and one twice while it resizes that.
  table.sort(page[2])
  for n, key in ipairs(page[2]) do
    if key ~= page[2][n - 1] then mend_key(call, sweep, string.sub(key, #shard + 1)) end
  end
  dispatch_touched(call, policy, 'reaper')
  return done(call, page[1], sweep.repairs, flat_of(sweep.depths), sorted_names(sweep.gaps), flat_of(sweep.parked),
    sweep.waits, flat_of(sweep.states))
end
