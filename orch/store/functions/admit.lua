-- admit: makes jobs durable, or says why not; items judge alone, repeated calls answer alike.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] actor string who admits
-- ARGV[2] policy string as in dispatch
-- ARGV[3] queue_jobs_max integer capacity of a pool and class
-- ARGV[4] count integer items, 1 to 1,000; then per item 13 arguments:
-- ARGV[n] item strings id, digest, tenant, pool, class, spec, not_before, deadline, idempotency key, nonce, stream entry, request id, placed: empty, or JSON of the pool chosen and why; without a pool, of why none fits
-- returns {"ok", incarnation, seq, {answer…}}; answer {"new" | "duplicate", id, state, position} | {"refused", code, message, details}
-- No flag on purpose: under OOM the server refuses the call before it starts, and that is backpressure.
local ITEM = 13

local function item_at(argv, base)
  return {
    id = argv[base], digest = argv[base + 1], tenant = argv[base + 2], pool = argv[base + 3],
    class = argv[base + 4], spec = argv[base + 5], not_before = tonumber(argv[base + 6]),
    deadline = tonumber(argv[base + 7]), idem = argv[base + 8], nonce = argv[base + 9],
    entry = argv[base + 10], request = argv[base + 11], placed = argv[base + 12]
  }
end

-- A request is settled once. Its reader may be slow: buried meanwhile, its entry handed on under another id
-- or settled by its heir. Then neither a second job nor a second answer may come of what it still sends.
local function request_waits(shard, entry)
  return entry ~= '' and #redis.call('XRANGE', shard .. 'requests', entry, entry) > 0
end

-- What the items before an item of the same call have made.
local function begin_batch()
  return { jobs = {}, keys = {}, depth = {}, pools = {}, made = {}, lines = {}, listed = {} }
end

-- One more for the list of that name.
local function add(lists, name, value)
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  list[#list + 1] = value
end

local function known_pools(call)
  local pools = redis.call('SMEMBERS', call.shard .. 'pools')
  table.sort(pools)
  -- cjson would write an empty list as an object.
  for n, pool in ipairs(pools) do pools[n] = quoted(pool) end
  return '{"path":"pool","pools":[' .. table.concat(pools, ',') .. ']}'
end

local function conflict(item, other_id, other_digest)
  return { 'refused', 'IDEMPOTENCY_CONFLICT', 'the key or id stands for other content: job ' .. other_id,
    cjson.encode({ job_id = other_id, digest = item.digest, other_digest = other_digest }) }
end

-- The first job with this id or key, from the store or from earlier in the same batch.
local function find_first(call, item, batch)
  local idem_key = item.idem ~= '' and (call.shard .. 'idem:' .. item.tenant .. ':' .. item.idem)
  local id = idem_key and (batch.keys[idem_key] or redis.call('GET', idem_key)) or item.id
  if batch.jobs[id] then return id, { batch.jobs[id].digest, false, 'q' }, batch.jobs[id] end
  local found = redis.call('HMGET', call.shard .. 'job:' .. id, 'digest', 'nonce', 'state')
  return id, found[1] and found or nil
end

local function judge(call, item, batch, capacity)
  local id, first, earlier = find_first(call, item, batch)
  if first then
    if first[1] ~= item.digest then return conflict(item, id, first[1]) end
    -- The nonce is the caller's own (none is stored for an id that admission chose): the same call
    -- again, after a lost reply, is answered as at first.
    local again = not earlier and (first[2] or '') == item.nonce
    return { again and 'new' or 'duplicate', id, first[3], -1, earlier = earlier }
  end
  if item.entry ~= '' and not item.waits then
    return { 'refused', 'INVALID_REQUEST', 'request ' .. item.entry .. ' is settled or was handed on', '{}' }
  end
  if item.pool == '' then return { 'refused', 'NO_POOL', 'no pool fits the placement', item.placed } end
  batch.pools[item.pool] = batch.pools[item.pool] or redis.call('SISMEMBER', call.shard .. 'pools', item.pool)
  if batch.pools[item.pool] == 0 then
    return { 'refused', 'INVALID_SPEC', 'pool: there is no pool ' .. item.pool,
      known_pools(call) }
  end
  if item.deadline > 0 and item.deadline <= math.max(call.now, item.not_before) then
    return { 'refused', 'DEADLINE_UNMET', 'deadline_ms has passed or lies before not_before_ms', cjson.encode({ now_ms = int(call.now) }) }
  end
  local depth = item.pool .. ':' .. item.class
  batch.depth[depth] = batch.depth[depth]
    or tonumber(redis.call('HGET', call.shard .. 'counters', 'depth:' .. depth) or '0')
  if batch.depth[depth] >= capacity then
    return { 'refused', 'QUEUE_FULL', 'the queue of pool ' .. item.pool .. ', class ' .. item.class .. ' is full',
      cjson.encode({ queue_depth = batch.depth[depth], policy = 'reject' }) }
  end
  item.position = batch.depth[depth]
  if item.not_before <= call.now then batch.depth[depth] = batch.depth[depth] + 1 end
  batch.jobs[item.id] = item
  if item.idem ~= '' then batch.keys[call.shard .. 'idem:' .. item.tenant .. ':' .. item.idem] = item.id end
  return nil
end

-- What the first entry of a ledger says of where the job came from.
local function origin_of(item)
  local said = item.replay_of and '{"replay_of":"' .. item.replay_of .. '"}' or item.origin or '{}'
  return item.placed ~= '' and with_member(said, '"placed":' .. item.placed) or said
end

-- Whether the tenant has webhooks; asked once a call.
local function is_watched(call, tenant)
  local watched = call.watched[tenant]
  if watched == nil then
    watched = redis.call('EXISTS', call.shard .. 'hooks:' .. tenant) == 1
    call.watched[tenant] = watched
  end
  return watched
end

local function make_job(call, item, actor, batch)
  local job = {
    id = item.id, key = call.shard .. 'job:' .. item.id, seq = 0, writes = {}, drops = {},
    pool = item.pool, class = item.class, tenant = item.tenant
  }
  for _, name in ipairs({ 'pool', 'class', 'tenant', 'digest', 'spec' }) do set(job, name, item[name]) end
  set(job, 'made_at', call.now_text)
  if item.replay_of then set(job, 'replay_of', item.replay_of) end
  if item.nonce ~= '' then set(job, 'nonce', item.nonce) end
  if is_watched(call, item.tenant) then set(job, 'ties', 'w') end
  if item.idem ~= '' then
    set(job, 'idem', item.idem)
    redis.call('SET', call.shard .. 'idem:' .. item.tenant .. ':' .. item.idem, item.id)
  end
  if item.deadline > 0 then
    set(job, 'deadline', int(item.deadline))
    redis.call('ZADD', call.shard .. 'due', int(item.deadline), 'deadline:' .. item.id .. ':0')
    call.timer = math.min(call.timer or item.deadline, item.deadline)
  end
  if item.not_before > call.now then
    move(call, job, 'schedule', actor, with_member(origin_of(item), '"due_at_ms":' .. int(item.not_before)))
    set(job, 'not_before', int(item.not_before))
    park(call, job, 'later', item.not_before)
  else
    move(call, job, 'admit', actor, origin_of(item))
    local line, entry = take_place(call, job)
    add(batch.lines, line, entry)
  end
  batch.arrival = batch.arrival + 1
  set(job, 'arrival', tostring(batch.arrival))
  add(batch.listed, item.tenant, job.arrival)
  add(batch.listed, item.tenant, item.id)
  batch.made[#batch.made + 1] = job
  call.made[item.id] = job
  return { 'new', item.id, job.state, job.state == 'q' and item.position or -1 }
end

-- The places in the order of arrival that so many new jobs will have.
local function arrive(call, batch, count)
  if count > 0 then batch.arrival = redis.call('HINCRBY', call.shard .. 'meta', 'arrivals', count) - count end
end

-- The new jobs stand in their lines; then what is free is given out, and what dispatch did not write is written,
-- each job once.
local function place_made(call, batch, policy, actor)
  for line, entries in pairs(batch.lines) do redis.call('RPUSH', line, unpack(entries)) end
  dispatch_touched(call, policy, actor)
  for _, job in ipairs(batch.made) do
    if #job.writes > 0 then save(job) end
  end
  for tenant, listed in pairs(batch.listed) do
    redis.call('ZADD', call.shard .. 'jobs:' .. tenant, unpack(listed))
    redis.call('SADD', call.shard .. 'tenants', tenant)
  end
end

-- A raw producer reads its answer under its own request id; the request itself is settled here, in the
-- same function, so that a redelivery cannot make a second job.
local function answer_request(call, item, answer)
  if not item.waits then return end
  if item.request ~= '' then
    local body
    if answer[1] == 'refused' then
      body = '{' .. ERRORS[answer[2]] .. ',"message":' .. quoted(answer[3]) .. ',"request_id":'
        .. quoted(item.request) .. ',"details":' .. answer[4] .. '}'
    else
      body = '{"job_id":"' .. answer[2] .. '","state":"' .. STATE_NAMES[answer[3]] .. '","queue_position":'
        .. (answer[4] >= 0 and answer[4] or 'null') .. ',"predicted_start_ms":'
        .. (answer[3] == 'y' and '0' or 'null') .. ',"duplicate":' .. tostring(answer[1] == 'duplicate') .. '}'
    end
    redis.call('SET', call.shard .. 'answer:' .. item.request, body, 'PX', ANSWER_TTL_MS)
  end
  redis.call('XACK', call.shard .. 'requests', 'admission', item.entry)
  redis.call('XDEL', call.shard .. 'requests', item.entry)
end

local function admit(keys, argv)
  local shard, actor, policy, capacity, count =
    keys[1], argv[1], argv[2], tonumber(argv[3]), tonumber(argv[4])
  local call = begin(shard)
  local items, answers, batch, new = {}, {}, begin_batch(), 0
  for n = 1, count do
    items[n] = item_at(argv, 5 + (n - 1) * ITEM)
    items[n].waits = request_waits(shard, items[n].entry)
    answers[n] = judge(call, items[n], batch, capacity) or false
    if not answers[n] then new = new + 1 end
  end
  arrive(call, batch, new)
  for n = 1, count do
    answers[n] = answers[n] or make_job(call, items[n], actor, batch)
    items[n].answer = answers[n]
  end
  place_made(call, batch, policy, actor)
  for n = 1, count do
    local answer = answers[n]
    -- Its second event is the dispatch of this very call: nothing waited before it.
    if answer[1] == 'new' and call.touched[answer[2]] == '2' then answer[3] = 'y' end
    if answer.earlier then answer[3] = answer.earlier.answer[3] end
    if answer[3] == 'y' then answer[4] = 0 end
    answer_request(call, items[n], answers[n])
  end
  return done(call, answers)
end
