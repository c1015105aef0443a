-- session: what a newcomer does to the live jobs of its session (double texting). Part of admit and replay.
-- returns nothing, or as said
-- An item's `ties` say `k:<key>`, `s:<session>` and `p:<policy>`, how it meets the others: reject, enqueue, interrupt or
-- replace. What was decided is not stored: only the first two become the job's.
local sessions = {}

-- {session, policy, live, first} of an item in a session: how many live jobs that has, with those that earlier
-- items of the call will make, and which came first. Nil for an item without.
local function look_at(call, item, batch)
  local session = string.match(' ' .. item.ties, ' s:(%S+)')
  if not session then return nil end
  local key = call.shard .. 'session:' .. item.tenant .. ':' .. session
  batch.sessions[key] = batch.sessions[key] or { live = redis.call('ZCARD', key), key = key, session = session }
  local found = batch.sessions[key]
  item.session_policy = string.match(item.ties, 'p:(%l+)') or call.policy.session_policy
  return found
end

local function busy(found, policy, text)
  local first = found.first or redis.call('ZRANGE', found.key, 0, 0)[1]
  return { 'refused', 'SESSION_BUSY', text, cjson.encode({
    session = found.session, session_policy = policy, live_jobs = found.live, job_id = first }) }
end

-- Refuses an item that its session has no place for; nothing is changed yet.
function sessions.judge(call, item, batch)
  if item.ties == '' then return nil end
  local found = look_at(call, item, batch)
  if not found or found.live == 0 then return nil end
  local policy = item.session_policy
  if policy == 'reject' then
    return busy(found, policy, 'session ' .. found.session .. ' has a live job')
  end
  if policy == 'replace' then
    batch.victims = batch.victims + found.live
    if batch.victims > SESSION_JOBS_MAX and batch.victims > found.live then
      return busy(found, policy, 'this call replaces too many jobs already')
    end
  elseif found.live >= SESSION_JOBS_MAX then
    return busy(found, policy, 'session ' .. found.session .. ' has ' .. found.live .. ' live jobs')
  end
  return nil
end

-- The item was accepted: for the items after it the session is live.
function sessions.count(call, item, batch)
  local found = item.ties ~= '' and look_at(call, item, batch)
  if not found then return end
  if item.session_policy == 'replace' or found.live == 0 then
    found.first, found.live = item.id, 1
  else
    found.live = found.live + 1
  end
end

-- One that runs stops at its next step; one that is about to, at once. One that has the session and still waits
-- for its turn lets the newcomer go first.
local function interrupt(call, job, session, actor)
  local tie = 's:' .. session
  local active = call.shard .. 'active:' .. job.tenant .. ':' .. tie
  local members = redis.call('SMEMBERS', active)
  table.sort(members)
  for _, id in ipairs(members) do
    local other = load_job(call, id)
    if other and other.state == 'q' and ledger_has_room(other, 1) then
      -- A new ticket: its entry in the line is nobody's place from now on.
      record(call, other, 'set_aside', actor, '{"by":"job ' .. job.id .. '","session":"' .. session .. '"}')
      set(other, 'ticket', other.seq_text)
      ties.stand_aside(call, other, tie)
      save(other)
      redis.call('LPUSH', call.shard .. 'aside:' .. job.tenant .. ':' .. tie, id .. ':' .. other.ticket)
    elseif other and other.state ~= 'q' then
      pause_one(call, other, '"by":"job ' .. job.id .. '"', actor)
    end
  end
end

local function replace(call, job, live, actor)
  for _, id in ipairs(redis.call('ZRANGE', live, 0, -1)) do
    local other = load_job(call, id)
    if other and allowed(other, 'cancel') then
      cancel_job(call, other, '"by":"job ' .. job.id .. '"', actor, 'replaced')
    end
  end
end

-- Before the new job is placed: it gets its ties, and the others of its session make room. Whether it is the next
-- one of its session.
function sessions.bind(call, job, item, arrival, actor)
  local words = {}
  for word in string.gmatch(item.ties, '%S+') do
    if string.sub(word, 1, 2) ~= 'p:' then words[#words + 1] = word end
  end
  set(job, 'ties', table.concat(words, ' '))
  ties.list_key(call, job)
  local session = ties.session_of(job)
  if not session then return false end
  local live = call.shard .. 'session:' .. job.tenant .. ':' .. session
  -- Who waits for its own time yet interrupts nobody.
  local is_next = item.session_policy == 'interrupt' and item.not_before <= call.now
  if is_next then
    interrupt(call, job, session, actor)
  elseif item.session_policy == 'replace' then
    replace(call, job, live, actor)
  end
  redis.call('ZADD', live, arrival, job.id)
  redis.call('ZADD', call.shard .. 'sessions:' .. job.tenant, arrival, session)
  return is_next
end
