-- tally: what a call counts and marks beside the jobs: counters, what a pool remembers, victims. Part of shared.
-- returns what each says; everything is written once, at the end of the call
-- {a, b} -> {a = b}; HGETALL answers so on every engine inside a function.
local function pairs_of(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

-- Names of a map in an order that every server finds alike.
local function sorted_names(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function bump(call, field, by)
  call.counts[field] = (call.counts[field] or 0) + by
end

-- How many of a tenant's jobs wait, scheduled ones too: what its quota bounds.
local function count_waiting(call, tenant, by)
  bump(call, 'waits:' .. tenant, by)
end

-- Reads counters that the call has not read yet.
local function know(call, fields)
  local unknown = {}
  for _, field in ipairs(fields) do
    if not call.known[field] then unknown[#unknown + 1] = field end
  end
  if #unknown == 0 then return end
  local values = redis.call('HMGET', call.shard .. 'counters', unpack(unknown))
  for n, field in ipairs(unknown) do call.known[field] = tonumber(values[n] or '0') end
end

-- A counter as this call will leave it.
local function counter_of(call, field)
  if not call.known[field] then know(call, { field }) end
  return call.known[field] + (call.counts[field] or 0)
end

-- All counters that changed, in two commands however many they are. Who waits for nothing has no field.
local function save_counts(call)
  local fields, writes, gone = {}, {}, {}
  for field, by in pairs(call.counts) do
    if by ~= 0 then fields[#fields + 1] = field end
  end
  if #fields == 0 then return end
  -- Lets a sweep know whether what it counted still stands (recount).
  call.counts.moves = 1
  fields[#fields + 1] = 'moves'
  know(call, fields)
  for _, field in ipairs(fields) do
    local value = counter_of(call, field)
    if value == 0 and string.sub(field, 1, 6) == 'waits:' then
      gone[#gone + 1] = field
    else
      writes[#writes + 1] = field
      writes[#writes + 1] = value
    end
  end
  redis.call('HSET', call.shard .. 'counters', unpack(writes))
  if #gone > 0 then redis.call('HDEL', call.shard .. 'counters', unpack(gone)) end
end

-- What dispatch remembers of a pool: clocks, the measured pace, whether an index of victims is kept. Read once
-- a call.
local function fair_of(call, pool)
  local fair = call.fairs[pool]
  if not fair then
    fair = pairs_of(redis.call('HGETALL', call.shard .. 'fair:' .. pool))
    call.fairs[pool] = fair
  end
  return fair
end

-- In a pool that evicts, `oldest` holds for each tenant of a class how long the head of its line waits, and
-- `youngest` the same of the tail. What may have changed is only marked: who looks for a victim looks again.
local MARKS = { oldest = '-inf', youngest = '+inf' }

local function victims_of(call, kind, name)
  if kind == 'oldest' then return call.shard .. 'oldest:' .. name end
  return call.shard .. 'youngest:' .. name
end

local function mark(call, kind, pool, class, tenant)
  if fair_of(call, pool).evicts ~= kind then return end
  local name = pool .. ':' .. class
  local marks = call.marks[name]
  if not marks then
    marks = { kind = kind, tenants = {} }
    call.marks[name] = marks
  end
  marks.tenants[tenant] = true
end

-- Both ends, when a job leaves: of a tenant that has no turn (what it has stands aside, or it is parked) the index
-- knows nothing, or it would hold as many as have turns, and not the same.
local function mark_line(call, job)
  if not fair_of(call, job.pool).evicts then return end
  if not redis.call('ZSCORE', call.shard .. 'turn:' .. job.pool .. ':' .. job.class, job.tenant) then return end
  mark(call, 'oldest', job.pool, job.class, job.tenant)
  mark(call, 'youngest', job.pool, job.class, job.tenant)
end

local function save_marks(call)
  for name, marks in pairs(call.marks) do
    local pairs_of_marks = {}
    for tenant in pairs(marks.tenants) do
      pairs_of_marks[#pairs_of_marks + 1] = MARKS[marks.kind]
      pairs_of_marks[#pairs_of_marks + 1] = tenant
    end
    if #pairs_of_marks > 0 then redis.call('ZADD', victims_of(call, marks.kind, name), unpack(pairs_of_marks)) end
  end
  call.marks = {}
end

-- The tenant has nothing in that line any more.
local function unmark(call, pool, class, tenant)
  local kind, name = fair_of(call, pool).evicts, pool .. ':' .. class
  if not kind then return end
  if call.marks[name] then call.marks[name].tenants[tenant] = nil end
  redis.call('ZREM', victims_of(call, kind, name), tenant)
end
