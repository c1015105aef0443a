-- tie: what else a job is bound to: its concurrency key, its session, its tenant's running limit. Part of move.
-- returns nothing, or as said
-- A job's `ties` are words: `k:<key>`, `s:<session>`, `t` once it counted against a limit of its tenant; others are
-- not looked at here. `active:<tenant>:<tie>` holds who has the tie: ready and running jobs, and those that
-- were called in and stand in their line. Whoever finds it full stands aside, first in, first out.
-- A key is looked at when its job has its turn, a session when its job begins to wait: so a session keeps its
-- order over classes and pools, and a key lets a late job of a high class overtake.
local HAS_TIES = { y = true, r = true }

function ties.words(job)
  local words = {}
  for word in string.gmatch(job.ties, '%S+') do
    if word == 't' or string.find(word, '^[ks]:') then words[#words + 1] = word end
  end
  return words
end

-- The same, when its tenant is known: not every verb reads that of every job.
function ties.of(call, job)
  job.tenant = job.tenant or redis.call('HGET', job.key, 'tenant')
  return ties.words(job)
end

-- The concurrency key that words of ties name.
function ties.key_in(text)
  return string.match(' ' .. text, ' k:(%S+)')
end

-- A live job is listed with its key: the key's bound counts them (bound).
function ties.list_key(call, job)
  local key = ties.key_in(job.ties)
  if key then redis.call('SADD', call.shard .. 'keyed:' .. job.tenant .. ':' .. key, job.id) end
end

function ties.session_of(job)
  return job.ties and string.match(' ' .. job.ties, ' s:(%S+)')
end

local function active_of(call, tenant, tie)
  return call.shard .. 'active:' .. tenant .. ':' .. tie
end

-- The tie may have room: before the call ends somebody who waits for it is called in.
function ties.loosen(call, tenant, tie)
  local name = tenant .. ':' .. tie
  if call.loose[name] then return end
  call.loose[name] = true
  call.loose[#call.loose + 1] = { tenant = tenant, tie = tie }
end

-- What was ready or ran and waits again keeps key and session: its place is the head of its line. It counts for its
-- tenant no more: a tenant at its limit is not served at all.
function ties.moved(call, job, from, to)
  local is_over = not STATES[to]['cancel']
  for _, tie in ipairs(ties.of(call, job)) do
    local active, key = active_of(call, job.tenant, tie), ties.key_in(tie)
    if is_over and key then redis.call('SREM', call.shard .. 'keyed:' .. job.tenant .. ':' .. key, job.id) end
    if HAS_TIES[to] then
      if not HAS_TIES[from] then redis.call('SADD', active, job.id) end
    elseif from and (to ~= 'q' or tie == 't') then
      local had = redis.call('SREM', active, job.id) == 1
      if had or HAS_TIES[from] then ties.loosen(call, job.tenant, tie) end
    end
  end
  if job.aside and to ~= 'q' then drop(job, 'aside') end
  local session = is_over and ties.session_of(job)
  if session then
    local live = call.shard .. 'session:' .. job.tenant .. ':' .. session
    redis.call('ZREM', live, job.id)
    if redis.call('EXISTS', live) == 0 then redis.call('ZREM', call.shard .. 'sessions:' .. job.tenant, session) end
  end
end

function ties.limit(call, tenant, tie)
  local kind, name = string.match(tie, '^(%a):(.+)$')
  return kind == 's' and 1 or desired.key_running_max(call, tenant, name)
end

-- Gives back all that a job has.
function ties.let_go(call, job)
  for _, tie in ipairs(ties.of(call, job)) do
    if redis.call('SREM', active_of(call, job.tenant, tie), job.id) == 1 then ties.loosen(call, job.tenant, tie) end
  end
end

-- Who waits for its session has nothing: whoever has the session may wait for the key, and two would wait for each other.
function ties.stand_aside(call, job, tie)
  if string.sub(tie, 1, 2) == 's:' then ties.let_go(call, job) end
  set(job, 'aside', tie)
end

-- Whether a job has its session, or could have it: nobody else does.
function ties.may_have_session(call, job)
  local session = job.ties and ties.session_of(job)
  if not session then return true end
  job.tenant = job.tenant or redis.call('HGET', job.key, 'tenant')
  local active = active_of(call, job.tenant, 's:' .. session)
  return redis.call('SCARD', active) == redis.call('SISMEMBER', active, job.id)
end

-- The list that a job which begins to wait stands aside in, nil when it may go into its line. The first of an
-- idle session has the session from there on.
function ties.session_waits(call, job, is_next)
  local session = ties.session_of(job)
  if not session then return nil end
  local tie = 's:' .. session
  local active, aside = active_of(call, job.tenant, tie), call.shard .. 'aside:' .. job.tenant .. ':' .. tie
  if redis.call('SISMEMBER', active, job.id) == 1 then return nil end
  local is_idle = redis.call('SCARD', active) == 0
  if is_idle and (is_next or redis.call('EXISTS', aside) == 0) then
    redis.call('SADD', active, job.id)
    return nil
  end
  if is_idle then ties.loosen(call, job.tenant, tie) end
  ties.stand_aside(call, job, tie)
  return aside
end

-- Whether an entry at the head of its line must not be served: the job stands aside already, or does from now on.
function ties.hold_back(call, job, entry)
  if job.aside or redis.call('HGET', job.key, 'aside') then return true end
  for _, tie in ipairs(ties.of(call, job)) do
    local active = active_of(call, job.tenant, tie)
    if tie ~= 't' and redis.call('SISMEMBER', active, job.id) == 0
      and redis.call('SCARD', active) >= ties.limit(call, job.tenant, tie) then
      ties.stand_aside(call, job, tie)
      save(job)
      redis.call('RPUSH', call.shard .. 'aside:' .. job.tenant .. ':' .. tie, entry)
      return true
    end
  end
  return false
end

-- From the line's head on, `room` of those that wait for the tie; stale entries are stepped over, as many as one
-- call may look at. What is left of them the scheduler's next sweep goes on with.
local function pop_aside(call, tenant, tie, room)
  local found, aside = {}, call.shard .. 'aside:' .. tenant .. ':' .. tie
  while #found < room do
    local entry = call.steps < DROPS_MAX and redis.call('LPOP', aside)
    if not entry then break end
    call.steps = call.steps + 1
    local id, ticket = string.match(entry, '^(.+):(%d+)$')
    local job = load_job(call, id)
    if job and job.state == 'q' and job.ticket == ticket and job.aside == tie then found[#found + 1] = job end
  end
  if #found < room and redis.call('EXISTS', aside) == 1 then
    redis.call('ZADD', call.shard .. 'calling', 0, tenant .. ':' .. tie)
  end
  return found
end

-- They have the tie from here on, and stand at the heads of their lines, the oldest before all others.
function ties.call_in(call, tenant, tie)
  local active = active_of(call, tenant, tie)
  local found = pop_aside(call, tenant, tie, ties.limit(call, tenant, tie) - redis.call('SCARD', active))
  for n = #found, 1, -1 do
    local job = found[n]
    redis.call('SADD', active, job.id)
    drop(job, 'aside')
    save(job)
    redis.call('LPUSH', call.shard .. 'queue:' .. job.pool .. ':' .. job.class .. ':' .. tenant, job.id .. ':' .. job.ticket)
    mark(call, 'oldest', job.pool, job.class, tenant)
    mark(call, 'youngest', job.pool, job.class, tenant)
    wake_tenant(call, job.pool, job.class, tenant)
    call.pools[job.pool] = true
  end
end

-- How many jobs of a tenant may be ready or running; 0: any number.
function ties.tenant_limit(call, tenant)
  return desired.tenant(call, tenant).running_max or call.policy.tenant_running_max
end

-- How many more of them may become ready; nil when nothing limits it.
function ties.tenant_room(call, tenant)
  if desired.tenant(call, tenant).is_paused then return 0 end
  local most = ties.tenant_limit(call, tenant)
  if most == 0 then return nil end
  return math.max(0, most - redis.call('SCARD', active_of(call, tenant, 't')))
end

-- From now on the job counts against its tenant's limit.
function ties.count_tenant(job)
  if string.find(' ' .. (job.ties or '') .. ' ', ' t ', 1, true) then return end
  set(job, 'ties', job.ties and job.ties .. ' t' or 't')
end

-- Out of the turns of a class until one of its jobs ends, or the limit changes.
function ties.park(call, tenant, place)
  redis.call('SADD', call.shard .. 'parked:' .. tenant, place)
end

function ties.unpark(call, tenant)
  local places = redis.call('SMEMBERS', call.shard .. 'parked:' .. tenant)
  if #places == 0 then return end
  redis.call('DEL', call.shard .. 'parked:' .. tenant)
  table.sort(places)
  for _, place in ipairs(places) do
    local pool, class = string.match(place, '^([^:]+):(.+)$')
    wake_tenant(call, pool, class, tenant)
    call.pools[pool] = true
  end
end

-- Before anything is dispatched: who waited for what this call made free is in line.
function ties.pass_on(call)
  local loose = call.loose
  call.loose = {}
  for n = 1, #loose do
    local one = loose[n]
    if one.tie == 't' then
      ties.unpark(call, one.tenant)
    else
      ties.call_in(call, one.tenant, one.tie)
    end
  end
end

-- What earlier calls had no steps left for.
function ties.go_on_calling(call)
  local left = redis.call('ZPOPMIN', call.shard .. 'calling', 100)
  for i = 1, #left, 2 do
    local tenant, tie = string.match(left[i], '^([^:]+):(.+)$')
    ties.loosen(call, tenant, tie)
  end
end
