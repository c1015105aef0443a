-- mend: compares one job's places in all indexes with its hash, which is the truth. Part of repair.
-- returns nothing; what it mended stands in the job's ledger and in `sweep.repairs`
local MEND_FIELDS = { 'due_at', 'queued_at', 'finished_at', 'arrival', 'idem', 'replayed_as' }

-- One page of a sweep: what was mended, how many wait in each line, which lines have gaps, and what several
-- jobs of the page ask for. `gathers` are the lines whose jobs are collected, `waits` the ties that jobs wait for.
local function begin_page(gathers)
  return {
    repairs = {}, depths = {}, parked = {}, gaps = {}, heads = {}, ready = {}, gathers = gathers, looked = 0, waits = {},
    states = {}
  }
end

-- The list that a queued job stands in, and its name in a sweep: a line, or where it stands aside.
local function list_of(call, job)
  if job.aside then
    return call.shard .. 'aside:' .. job.tenant .. ':' .. job.aside, job.tenant .. '~' .. job.aside
  end
  local name = job.pool .. ':' .. job.class .. ':' .. job.tenant
  return call.shard .. 'queue:' .. name, name
end

local function mended(call, sweep, job, index, was)
  sweep.repairs[#sweep.repairs + 1] = { index, job.id }
  if ledger_has_room(job, 1) then
    record(call, job, 'repaired', 'reaper', '{"index":"' .. index .. '","was":' .. quoted(was) .. '}')
  end
  job.is_mended = true
end

local function is_known(call, instance)
  return redis.call('HEXISTS', call.shard .. 'beats', instance) == 1
    or redis.call('HEXISTS', call.shard .. 'instances', instance) == 1
end

-- When the oldest job of a line began to wait; entries before it that are nobody's place are dropped, as
-- dispatch does. Then whether the line is empty.
local function live_head(call, line)
  for _ = 1, DROPS_MAX do
    local entry = redis.call('LINDEX', line, 0)
    if not entry then return nil, true end
    local id, ticket = string.match(entry, '^(.+):(%d+)$')
    local job = load_job(call, id)
    if job and stands_here(job, 'q', job.pool, ticket) and list_of(call, job) == line then
      return tonumber(redis.call('HGET', job.key, 'queued_at') or '0'), false
    end
    redis.call('LPOP', line)
  end
  return nil, false
end

-- Whether a place that ought to be there is missing from the line. A line is first in, first out: whoever has
-- waited longer than its head may have lost the place; may, because what is pushed to a head is younger. The
-- search is bounded: what it does not come to is found by a later sweep.
local function is_missing(sweep, job, line)
  local head, queued_at = sweep.heads[line], tonumber(job.queued_at or '0')
  if head.is_empty then return true end
  if not head.queued_at or head.queued_at <= queued_at or sweep.looked >= LOOKS_MAX then return false end
  sweep.looked = sweep.looked + redis.call('LLEN', line)
  return not redis.call('LPOS', line, job.id .. ':' .. (job.ticket or '0'))
end

-- A tenant with a job in line has its turns, or is parked for a limit that is still reached.
local function mend_turn(call, sweep, job, place)
  if redis.call('ZSCORE', call.shard .. 'turn:' .. place, job.tenant) then return end
  local parked = call.shard .. 'parked:' .. job.tenant
  if redis.call('SISMEMBER', parked, place) == 1 then
    if ties.tenant_room(call, job.tenant) == 0 then return end
    redis.call('SREM', parked, place)
  end
  wake_tenant(call, job.pool, job.class, job.tenant)
  call.pools[job.pool] = true
  sweep.repairs[#sweep.repairs + 1] = { 'turn', job.id }
end

-- A line with a gap is named in the reply; the next sweep collects all its jobs, and realign puts them back.
local function mend_queued(call, sweep, job)
  local place = job.pool .. ':' .. job.class
  local line, name = list_of(call, job)
  local counted = job.aside and place .. ':' .. name or name
  sweep.depths[counted] = (sweep.depths[counted] or 0) + 1
  if not job.aside then mend_turn(call, sweep, job, place) end
  if sweep.gathers[name] then
    redis.call('ZADD', call.shard .. 'astray', job.queued_at or 0, job.id .. ':' .. (job.ticket or '0'))
    return
  end
  if not sweep.heads[line] then
    local queued_at, is_empty = live_head(call, line)
    sweep.heads[line] = { queued_at = queued_at, is_empty = is_empty }
  end
  if not sweep.gaps[name] and is_missing(sweep, job, line) then sweep.gaps[name] = true end
end

local function mend_ready(call, sweep, job)
  local ready = call.shard .. 'ready:' .. job.pool
  if not sweep.ready[job.pool] then
    local found = {}
    for _, entry in ipairs(redis.call('XRANGE', ready, '-', '+', 'COUNT', LOOKS_MAX)) do
      found[field_of(entry, 'j') or ''] = true
    end
    sweep.ready[job.pool] = found
  end
  local entry = job.id .. ':' .. (job.ticket or '0')
  if sweep.ready[job.pool][entry] then return end
  redis.call('XADD', ready, '*', 'j', entry)
  wake_runners(call, job.pool, 1)
  mended(call, sweep, job, 'ready', 'not in ready')
end

local function mend_timer(call, sweep, job, kind, ticket, at)
  local member = kind .. ':' .. job.id .. ':' .. ticket
  if not at or redis.call('ZSCORE', call.shard .. 'due', member) then return end
  redis.call('ZADD', call.shard .. 'due', at, member)
  call.timer = math.min(call.timer or tonumber(at), tonumber(at))
  mended(call, sweep, job, 'due', 'no timer ' .. kind)
end

-- A claim in force is held by its runner. One that nobody knows any more was buried while what it held was
-- lost, or was lost itself: it is made known without a beat, so that its agents are stopped and a burial frees
-- the job a lease later. It is not made to live: whoever was buried stays so.
local function mend_claimed(call, sweep, job)
  local held = call.shard .. 'held:' .. job.runner
  if redis.call('HGET', held, job.id) ~= job.claim then
    redis.call('HSET', held, job.id, job.claim)
    mended(call, sweep, job, 'held', 'not held by ' .. job.runner)
  end
  if not is_known(call, job.runner) then
    redis.call('HSET', call.shard .. 'instances', job.runner, '{"role":"runner","pool":"' .. job.pool .. '","slots":0}')
    mended(call, sweep, job, 'instances', 'unknown runner ' .. job.runner)
  end
end

local function mend_undecided(call, sweep, job)
  local member = job.id .. ':' .. job.undecided
  if redis.call('ZSCORE', call.shard .. 'undecided', member) then return end
  redis.call('ZADD', call.shard .. 'undecided', int(call.now), member)
  mended(call, sweep, job, 'undecided', 'not in undecided')
end

-- A claim outlives its attempt only when a call was cut in half.
local function mend_left_claim(call, sweep, job)
  redis.call('HDEL', call.shard .. 'held:' .. job.runner, job.id)
  mended(call, sweep, job, 'claim', 'left behind')
  drop(job, 'claim')
end

local function mend_over(call, sweep, job)
  local shard = call.shard
  local hour = math.floor(tonumber(job.finished_at or int(call.now)) / 3600000)
  -- An hour that retention has passed is looked at no more: its jobs go with the last one that was.
  hour = math.max(hour, tonumber(redis.call('HGET', shard .. 'meta', 'retired') or '0'))
  if redis.call('SISMEMBER', shard .. 'retire:' .. int(hour), job.id) == 0 then
    redis.call('SADD', shard .. 'retire:' .. int(hour), job.id)
    mended(call, sweep, job, 'retire', 'never to be retired')
  end
  if job.state == 'F' and not job.replayed_as and not redis.call('ZSCORE', shard .. 'dead:' .. job.tenant, job.id) then
    redis.call('ZADD', shard .. 'dead:' .. job.tenant, redis.call('HINCRBY', shard .. 'meta', 'deaths', 1), job.id)
    mended(call, sweep, job, 'dead', 'not among the dead letters')
  end
end

local function mend_names(call, sweep, job)
  local shard = call.shard
  if not redis.call('ZSCORE', shard .. 'jobs:' .. job.tenant, job.id) then
    redis.call('ZADD', shard .. 'jobs:' .. job.tenant, job.arrival or 0, job.id)
    redis.call('SADD', shard .. 'tenants', job.tenant)
    mended(call, sweep, job, 'jobs', 'not listed')
  end
  local idem = job.idem and shard .. 'idem:' .. job.tenant .. ':' .. job.idem
  if idem and redis.call('EXISTS', idem) == 0 then
    redis.call('SET', idem, job.id)
    mended(call, sweep, job, 'idem', 'its key was free')
  end
end

-- Ready and running jobs have their ties, those of a limited tenant count against the limit, and the one of its
-- session that stands in line has the session, unless another took it meanwhile.
local function mend_ties(call, sweep, job)
  local has_all = job.state == 'y' or job.state == 'r'
  if has_all and ties.tenant_limit(call, job.tenant) > 0 then
    ties.count_tenant(job)
    job.is_mended = job.is_mended or #job.writes > 0
  end
  if not job.ties then return end
  for _, tie in ipairs(ties.of(call, job)) do
    local active = call.shard .. 'active:' .. job.tenant .. ':' .. tie
    local is_due = has_all or (job.state == 'q' and job.aside ~= tie and string.sub(tie, 1, 1) == 's')
    if is_due and redis.call('SISMEMBER', active, job.id) == 0 and (has_all or redis.call('SCARD', active) == 0) then
      redis.call('SADD', active, job.id)
      mended(call, sweep, job, 'active', 'without ' .. tie)
    end
  end
end

-- A live job is listed with its key; one of a session among its jobs, and the session among its tenant's.
local function mend_live_ties(call, sweep, job)
  local key = job.ties and ties.key_in(job.ties)
  if key and redis.call('SADD', call.shard .. 'keyed:' .. job.tenant .. ':' .. key, job.id) == 1 then
    mended(call, sweep, job, 'keyed', 'not among the jobs of ' .. key)
  end
  local session = ties.session_of(job)
  if not session then return end
  local live, all = call.shard .. 'session:' .. job.tenant .. ':' .. session, call.shard .. 'sessions:' .. job.tenant
  if not redis.call('ZSCORE', live, job.id) then
    redis.call('ZADD', live, job.arrival or 0, job.id)
    mended(call, sweep, job, 'session', 'not among the live jobs of ' .. session)
  end
  if not redis.call('ZSCORE', all, session) then
    redis.call('ZADD', all, redis.call('ZRANGE', live, -1, -1, 'WITHSCORES')[2], session)
    sweep.repairs[#sweep.repairs + 1] = { 'sessions', session }
  end
end

local function mend_place(call, sweep, job)
  if job.claim and (job.state ~= 'r' or job.undecided) then mend_left_claim(call, sweep, job) end
  if job.state == 'q' then
    mend_queued(call, sweep, job)
  elseif job.state == 'y' then
    mend_ready(call, sweep, job)
  elseif job.state == 's' then
    sweep.parked[job.tenant] = (sweep.parked[job.tenant] or 0) + 1
    mend_timer(call, sweep, job, 'later', job.ticket, job.due_at)
  elseif job.state == 'b' and job.question_id then
    mend_timer(call, sweep, job, 'question', job.ticket, job.due_at)
  elseif job.state == 'r' and job.claim then
    mend_claimed(call, sweep, job)
  elseif job.state == 'r' and job.undecided then
    mend_undecided(call, sweep, job)
  end
end

local function mend_job(call, sweep, id)
  local job = load_job(call, id)
  if not job then return end
  for n, value in ipairs(redis.call('HMGET', job.key, unpack(MEND_FIELDS))) do
    if value then job[MEND_FIELDS[n]] = value end
  end
  mend_names(call, sweep, job)
  mend_place(call, sweep, job)
  mend_ties(call, sweep, job)
  if STATES[job.state]['cancel'] then mend_live_ties(call, sweep, job) end
  if not STATES[job.state]['cancel'] then
    mend_over(call, sweep, job)
  elseif job.deadline then
    mend_timer(call, sweep, job, 'deadline', '0', job.deadline)
  end
  sweep.states[job.state] = (sweep.states[job.state] or 0) + 1
  if job.is_mended then save(job) end
end
