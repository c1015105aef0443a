-- shared: what every verb needs: keys, the clock, the ledger, the queue and the feed.
-- Mechanics only. Which move is allowed stands in STATES (generated); whether and when to retry is
-- decided in Python. All reads and refusals come before the first write of a function.

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Lua 5.1 would print 1732147200000 as 1.7321472e+12.
local function int(number)
  return string.format('%.0f', number)
end

local function quoted(text)
  return cjson.encode(text)
end

-- A JSON object with one more member at its end.
local function with_member(object, member)
  return string.sub(object, 1, -2) .. (object == '{}' and '' or ',') .. member .. '}'
end

-- A memory of calls in one field: a line for each, its mark and what was said, the newest first. A call whose answer
-- was lost comes again, perhaps after others: it is known by its mark, and nothing is done twice.
local function said_to(lines, mark)
  local at = lines and string.find('\n' .. lines, '\n' .. mark .. '\t', 1, true)
  return at and string.match(lines, '[^\n]*', at + #mark + 1)
end

local function remember(lines, mark, said, most)
  local kept = { mark .. '\t' .. said }
  for line in string.gmatch(lines or '', '[^\n]+') do
    if #kept == most then break end
    kept[#kept + 1] = line
  end
  return table.concat(kept, '\n')
end

-- The reply of XREADGROUP is nil, false, {{key, entries}} or {key = entries}: engines differ.
local function entries_of(reply)
  if not reply then return {} end
  if reply[1] then return reply[1][2] or {} end
  for _, entries in pairs(reply) do return entries end
  return {}
end

local function field_of(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return nil
end

-- Whether the entry stands that a reader saw: after data went back and clocks with them, a stream gives an
-- id again, and then it is another's. A field given twice has both values.
local function is_as_read(stream, id, name, value)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return false end
  if value == '' then return true end
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name and entry[2][i + 1] == value then return true end
  end
  return false
end

-- What else a job is bound to, and what operators wish: filled in by `tie` and `desired`, needed before them.
local ties = {}
local desired = {}

-- A call's own scratch: the shard, the time, what the feed will say, which pools may dispatch, and what is
-- written for many jobs at once: a command costs as much as ten of its arguments.
local function begin(shard)
  local now = now_ms()
  return {
    shard = shard, now = now, now_text = int(now), touched = {}, said = {}, counts = {}, turns = {}, pools = {},
    retired = {}, freed = {}, made = {}, known = {}, fairs = {}, marks = {}, loose = {}, wishes = {}, steps = 0,
    hooks = {}, posts = {}, places = {}, watched = {}, room = {}
  }
end

local JOB_FIELDS = {
  'state', 'seq', 'ticket', 'attempt', 'epoch', 'claim', 'runner', 'pool', 'class', 'tenant',
  'past', 'undecided', 'wish', 'deadline', 'not_before', 'question_id', 'notes', 'outs', 'ties', 'aside'
}

-- The part of a job that transitions need; nil when there is no such job. A verb that runs for every job names
-- the few `fields` that it looks at, the state first: looking for a field that is not there costs most.
local function load_job(call, id, fields)
  local made = call.made[id]
  if made then return made end
  local key = call.shard .. 'job:' .. id
  fields = fields or JOB_FIELDS
  local values = redis.call('HMGET', key, unpack(fields))
  if not values[1] then return nil end
  -- Made at its size: a table that grows costs as much as a command.
  local job = {
    id = id, key = key, writes = { nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil },
    drops = {}, state = false, seq = false, ticket = false, attempt = false, epoch = false, claim = false,
    runner = false, pool = false, class = false, spec = false, past = false, seq_text = false, ties = false, queued_at = false, claimed_at = false
  }
  for i = 1, #fields do
    if values[i] then job[fields[i]] = values[i] end
  end
  job.seq = tonumber(job.seq)
  return job
end

local function set(job, name, value)
  local writes = job.writes
  writes[#writes + 1] = name
  writes[#writes + 1] = value
  job[name] = value
end

local function drop(job, name)
  job.drops[#job.drops + 1] = name
  job[name] = nil
end

-- The feed will say how far the job's ledger has come.
local function touch(call, id, seq)
  if not call.touched[id] then call.said[#call.said + 1] = id end
  call.touched[id] = seq
end

-- One ledger entry, dense by construction: field n of the job hash is event n.
local function record(call, job, kind, actor, payload)
  job.seq = job.seq + 1
  local writes, number = job.writes, NUMBERS[job.seq] or tostring(job.seq)
  writes[#writes + 1] = number
  writes[#writes + 1] = call.now_text .. ' ' .. kind .. ' ' .. actor .. ' ' .. (job.attempt or '0')
    .. ' ' .. (job.epoch or '0') .. ' ' .. payload
  job.seq_text = number
  touch(call, job.id, number)
end

local function ledger_has_room(job, count)
  return job.seq + count <= EVENTS_MAX - EVENTS_RESERVED
end

-- The only place where a state is assigned. `first` is the state of a job that is being made.
local function move(call, job, event, actor, payload)
  local from = job.state
  local to
  if from then to = STATES[from][event] else to = FIRST[event] end
  if not to then error('ORCH no transition ' .. tostring(from) .. ' ' .. event) end
  record(call, job, event .. ':' .. (from or '-') .. '>' .. to, actor, payload)
  set(job, 'state', to)
  if job.ties then ties.moved(call, job, from, to) end
end

-- Whether the table lets `event` happen to the job.
local function allowed(job, event)
  return STATES[job.state][event] ~= nil
end

local function save(job)
  local writes, drops = job.writes, job.drops
  writes[#writes + 1] = 'seq'
  writes[#writes + 1] = job.seq_text or tostring(job.seq)
  -- unpack is bounded by the C stack: a note carries at most a few dozen fields.
  redis.call('HSET', job.key, unpack(writes))
  if #drops > 0 then redis.call('HDEL', job.key, unpack(drops)) end
  job.writes, job.drops = {}, {}
end

-- Whether `claim` may still write: 'ok' it is in force, 'same' it was accepted before (a repeated
-- call), 'over' another attempt or a terminal state came in between.
local function judge_claim(job, claim)
  if job == nil then return 'over' end
  if job.state == 'r' and job.claim == claim then return 'ok' end
  if job.past == claim then return 'same' end
  return 'over'
end

-- What a fair turn needs of one pool and class.
local function turn_of(call, pool, class)
  local name = pool .. ':' .. class
  local turn = call.turns[name]
  if not turn then
    local fair = fair_of(call, pool)
    turn = {
      pool_clock = tonumber(fair.v or '0'),
      finish = tonumber(fair['c:' .. class] or '0'),
      clock = tonumber(fair['v:' .. class] or '0'),
      active = redis.call('ZCARD', call.shard .. 'turn:' .. name),
      seen = {}
    }
    call.turns[name] = turn
  end
  return turn
end

-- Start-time fair queueing: who comes back from idleness starts at the clock, never behind it, and
-- never before the turn it had already used up.
local function wake_tenant(call, pool, class, tenant)
  local turn = turn_of(call, pool, class)
  if turn.seen[tenant] then return end
  turn.seen[tenant] = true
  local name = pool .. ':' .. class
  if turn.active > 0 and redis.call('ZSCORE', call.shard .. 'turn:' .. name, tenant) then return end
  local rested = tonumber(redis.call('ZSCORE', call.shard .. 'rested:' .. name, tenant) or '0')
  local start = math.max(rested, turn.clock)
  if redis.call('ZADD', call.shard .. 'turn:' .. name, 'NX', start, tenant) == 1 then
    if turn.active == 0 then
      turn.finish = math.max(turn.finish, turn.pool_clock)
      redis.call('HSET', call.shard .. 'fair:' .. pool, 'c:' .. class, turn.finish)
    end
    turn.active = turn.active + 1
    mark(call, 'oldest', pool, class, tenant)
    mark(call, 'youngest', pool, class, tenant)
  end
end

-- Puts a queued job into its line. A ticket is the ledger seq that put it there: an entry whose
-- ticket is no longer the job's is dropped when it is popped, so cancel never searches a list. While another
-- of its session is on its way the job stands aside instead; `is_next` of those.
local function take_place(call, job, is_next)
  set(job, 'ticket', job.seq_text)
  set(job, 'queued_at', call.now_text)
  bump(call, 'depth:' .. job.pool .. ':' .. job.class, 1)
  count_waiting(call, job.tenant, 1)
  local aside = job.ties and ties.session_waits(call, job, is_next)
  if aside then return aside, job.id .. ':' .. job.ticket end
  mark(call, 'youngest', job.pool, job.class, job.tenant)
  wake_tenant(call, job.pool, job.class, job.tenant)
  call.pools[job.pool] = true
  return call.shard .. 'queue:' .. job.pool .. ':' .. job.class .. ':' .. job.tenant, job.id .. ':' .. job.ticket
end

-- What was begun goes on before what was not, where it stands aside too.
local function enqueue(call, job, at_head)
  local line, entry = take_place(call, job)
  redis.call((at_head or (job.aside and job.attempt)) and 'LPUSH' or 'RPUSH', line, entry)
end

-- Whether an entry of a line or a stream is the job's place. Its pool is compared too: an entry of a job that
-- is long gone may name a new job of the same id, which has the same small ticket elsewhere.
local function stands_here(job, state, pool, ticket)
  return job and job.state == state and job.pool == pool and job.ticket == ticket
end

local function park(call, job, kind, due_at)
  set(job, 'ticket', job.seq_text)
  set(job, 'due_at', int(due_at))
  redis.call('ZADD', call.shard .. 'due', int(due_at), kind .. ':' .. job.id .. ':' .. job.ticket)
  call.timer = math.min(call.timer or due_at, due_at)
  if kind == 'later' then count_waiting(call, job.tenant, 1) end
end

-- Leaves the line that the job stands in (before it is moved); entries in lists stay and die.
local function leave_line(call, job)
  if job.state == 'q' then
    bump(call, 'depth:' .. job.pool .. ':' .. job.class, -1)
    mark_line(call, job)
  end
  if job.state == 'q' or job.state == 's' then count_waiting(call, job.tenant, -1) end
  if job.state == 's' then redis.call('ZREM', call.shard .. 'due', 'later:' .. job.id .. ':' .. job.ticket) end
  if job.state == 'b' then redis.call('ZREM', call.shard .. 'due', 'question:' .. job.id .. ':' .. job.ticket) end
  if job.undecided then
    redis.call('ZREM', call.shard .. 'undecided', job.id .. ':' .. job.undecided)
    drop(job, 'undecided')
  end
end

-- Tells the runner that holds the job; the job hash is the truth, this is the hint.
local function tell_runner(call, job, what)
  local inbox = call.shard .. 'inbox:' .. job.runner
  if redis.call('EXISTS', inbox) == 1 then
    redis.call('XADD', inbox, 'MAXLEN', '~', INBOX_MAX, '*', 'what', what, 'job', job.id, 'claim', job.claim)
  end
end

-- Ends the claim in force, accepted: the same claim again is answered 'same'. A wish to pause stays: it
-- is about the job, not about this attempt.
local function end_claim(call, job)
  local freed = call.freed[job.runner]
  if not freed then
    freed = {}
    call.freed[job.runner] = freed
  end
  freed[#freed + 1] = job.id
  set(job, 'past', job.claim)
  drop(job, 'claim')
end

-- The slots of the claims that ended, before anybody counts what is free.
local function free_slots(call)
  for runner, ids in pairs(call.freed) do redis.call('HDEL', call.shard .. 'held:' .. runner, unpack(ids)) end
  call.freed = {}
end

-- What every terminal transition does beside its own fields.
local function finish(call, job)
  set(job, 'finished_at', call.now_text)
  if job.wish then drop(job, 'wish') end
  if job.deadline then redis.call('ZREM', call.shard .. 'due', 'deadline:' .. job.id .. ':0') end
  call.retired[#call.retired + 1] = job.id
  tell_hooks(call, job)
end

-- `?` stands before the slots of a runner that has not said what it runs since the server came back.
local function is_recalled(slots)
  return string.sub(slots, 1, 1) == '?'
end

-- Whether dispatch still waits for such a runner: what looks free may be what it runs.
local function still_recalled(call)
  local at = tonumber(redis.call('HGET', call.shard .. 'meta', 'recalled_at') or '0')
  return math.abs(call.now - at) < RECALL_MS_MAX
end

-- Free slots of live runners that nobody drains, less what is dispatched and unclaimed: computed, never counted.
-- Then how many runners serve the pool, whether nothing may be given out yet, and how much is unclaimed. What each of
-- them has free stands in `call.room`.
local function allowance(call, pool)
  local slots = redis.call('HGETALL', call.shard .. 'slots:' .. pool)
  local wishes = desired.pool(call, pool, slots)
  local free = 0
  for i = 1, #slots, 2 do
    if is_recalled(slots[i + 1]) then
      if still_recalled(call) then return 0, #slots / 2, true, 0 end
    elseif not wishes.drains and not wishes.drained[slots[i]] then
      local held = redis.call('HLEN', call.shard .. 'held:' .. slots[i])
      local room = math.max(0, tonumber(slots[i + 1]) - held)
      free, call.room[slots[i]] = free + room, room
    end
  end
  local unclaimed = redis.call('XLEN', call.shard .. 'ready:' .. pool)
  return free - unclaimed, #slots / 2, false, unclaimed
end

-- One token wakes one idle runner, who then claims as much as it has room for.
local function wake_runners(call, pool, tokens)
  for _ = 1, tokens do
    redis.call('XADD', call.shard .. 'wake:' .. pool, 'MAXLEN', '~', WAKE_MAX, '*', 'pool', pool)
  end
end

local function incarnation_of(call)
  call.incarnation = call.incarnation or tonumber(redis.call('HGET', call.shard .. 'meta', 'incarnation') or '0')
  return call.incarnation
end

-- Writes what the call collected: counters, the scheduler's alarm, one packed feed entry. Returns the
-- reply of a call that was carried out: before what the verb says stand the incarnation and the number of
-- the call, the client's watermark.
local function done(call, ...)
  save_counts(call)
  save_marks(call)
  if #call.places > 0 then post_all(call) end
  if call.timer then
    local first = redis.call('ZRANGE', call.shard .. 'due', 0, 0, 'WITHSCORES')
    if first[2] and call.timer <= tonumber(first[2]) then
      redis.call('XADD', call.shard .. 'alarm', 'MAXLEN', 16, '*', 'at', int(call.timer))
    end
  end
  if #call.retired > 0 then
    redis.call('SADD', call.shard .. 'retire:' .. int(math.floor(call.now / 3600000)), unpack(call.retired))
  end
  -- Who waits for these is called in by the next dispatch: this verb gave none.
  for _, one in ipairs(call.loose) do
    redis.call('ZADD', call.shard .. 'calling', 0, one.tenant .. ':' .. one.tie)
  end
  local said = call.said
  for n = 1, #said do said[n] = said[n] .. ':' .. call.touched[said[n]] end
  if #said > 0 then
    redis.call('XADD', call.shard .. 'feed', 'MAXLEN', '~', FEED_MAX, '*', 'j', table.concat(said, ','))
  end
  local seq = redis.call('HINCRBY', call.shard .. 'meta', 'seq', 1)
  return { 'ok', incarnation_of(call), seq, ... }
end
