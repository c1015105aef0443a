-- admit: makes jobs durable, or says why not; items judge alone, repeated calls answer alike.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] actor string who admits
-- ARGV[2] policy string as in dispatch
-- ARGV[3] bounds string words `name=number`, as bound.lua reads them
-- ARGV[4] random string the unguessable part of a claim, for a job that is handed over at once
-- ARGV[5] count integer items, 1 to 1,000; then per item 14 arguments:
-- ARGV[n] item strings id, digest, tenant, pool, class, spec, not_before, deadline, idempotency key, nonce, stream entry, request id, placed: empty, or JSON of the pool chosen and why; without a pool, of why none fits; ties, as session.lua reads them
-- returns {"ok", incarnation, seq, {answer…}, {policy, evicted…}, {id of a job that ended…}}; answer {"new" | "duplicate", id, state, position, starts in}
-- or {"refused", code, message, details}, for load also with retry_after_ms and the policy's label; -1: not known
-- No flag on purpose: under OOM the server refuses the call before it starts, and that is backpressure.
local ITEM = 14

local function item_at(argv, base)
  return {
    id = argv[base], digest = argv[base + 1], tenant = argv[base + 2], pool = argv[base + 3],
    class = argv[base + 4], spec = argv[base + 5], not_before = tonumber(argv[base + 6]),
    deadline = tonumber(argv[base + 7]), idem = argv[base + 8], nonce = argv[base + 9],
    entry = argv[base + 10], request = argv[base + 11], placed = argv[base + 12], ties = argv[base + 13]
  }
end

-- A request is settled once. Its reader may be slow: buried meanwhile, its entry handed on under another id
-- or settled by its heir. Then neither a second job nor a second answer may come of what it still sends.
local function request_waits(shard, entry, request)
  return entry ~= '' and is_as_read(shard .. 'requests', entry, 'request_id', request)
end

-- What the call has let in so far, and what it made of it.
local function begin_batch(call, bounds_text, policy_text)
  follow(call, policy_text)
  return {
    bounds = bounds_of(bounds_text), places = {}, tenants = {}, free = {}, jobs = {}, keys = {}, pools = {},
    coming = {}, pending = {}, items = {}, made = {}, lines = {}, listed = {}, evicted = {}, lengthened = {},
    sessions = {}, victims = 0
  }
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
  item.idem_key = idem_key
  local id = idem_key and (batch.keys[idem_key] or redis.call('GET', idem_key)) or item.id
  if batch.jobs[id] then return id, { batch.jobs[id].digest, false, 'q' }, batch.jobs[id] end
  local found = redis.call('HMGET', call.shard .. 'job:' .. id, 'digest', 'nonce', 'state')
  return id, found[1] and found or nil
end

-- When a job that is not made yet would start: nil while nothing was measured, 0 while a slot is free.
local function predict(call, batch, item)
  if not pace_of(call, item.pool) then return nil end
  local place, turn = item.pool .. ':' .. item.class, turn_of(call, item.pool, item.class)
  batch.free[item.pool] = batch.free[item.pool] or allowance(call, item.pool)
  if pool_depth(call, batch, item.pool) < batch.free[item.pool] then return 0 end
  local ahead = waiting(call, batch, 'depth:' .. place)
  local waits = redis.call('ZSCORE', call.shard .. 'turn:' .. place, item.tenant)
  local tenants = turn.active + (waits and 0 or 1)
  if tenants > 1 then
    local own = redis.call('LLEN', call.shard .. 'queue:' .. place .. ':' .. item.tenant)
    own = math.min(ahead, own + (batch.coming['waits:' .. item.tenant] or 0))
    local before = redis.call('ZCOUNT', call.shard .. 'turn:' .. place, '-inf', '(' .. (waits or turn.clock))
    ahead = ahead_in_class(own, ahead - own, tenants, before)
  end
  return starts_in(call, item.pool, item.class, ahead)
end

local function refuse_late(call, batch, item)
  if item.deadline <= 0 then return nil end
  if item.deadline <= math.max(call.now, item.not_before) then
    return { 'refused', 'DEADLINE_UNMET', 'deadline_ms has passed or lies before not_before_ms',
      cjson.encode({ now_ms = int(call.now) }) }
  end
  local start = item.not_before <= call.now and predict(call, batch, item)
  if not start or item.deadline > call.now + start then return nil end
  return { 'refused', 'DEADLINE_UNMET', 'deadline_ms lies before the predicted start',
    '{"now_ms":"' .. call.now_text .. '","predicted_start_ms":' .. int(start) .. '}' }
end

-- Counted from here on, made later, all in one go.
local function let_in(batch, item, now)
  batch.jobs[item.id] = item
  if item.idem ~= '' then batch.keys[item.idem_key] = item.id end
  batch.pending[#batch.pending + 1] = item
  local coming, waits, depth = batch.coming, item.bounds.waits, item.place.depth
  coming[waits] = (coming[waits] or 0) + 1
  if item.not_before <= now then coming[depth] = (coming[depth] or 0) + 1 end
  if item.keyed then coming[item.keyed] = (coming[item.keyed] or 0) + 1 end
  local tenant = item.bounds
  if tenant.rate > 0 then tenant.tokens, tenant.took = tenant.tokens - 1, true end
end

local function judge(call, item, batch)
  local id, first, earlier = find_first(call, item, batch)
  if first then
    if first[1] ~= item.digest then return conflict(item, id, first[1]) end
    -- The nonce is the caller's own (none is stored for an id that admission chose): the same call
    -- again, after a lost reply, is answered as at first.
    local again = not earlier and (first[2] or '') == item.nonce
    return { again and 'new' or 'duplicate', id, first[3], -1, -1, earlier = earlier }
  end
  if item.entry ~= '' and not item.waits then
    return { 'refused', 'INVALID_REQUEST', 'request ' .. item.entry .. ' is settled or was handed on', '{}' }
  end
  if item.pool == '' then return { 'refused', 'NO_POOL', 'no pool fits the placement', item.placed } end
  batch.pools[item.pool] = batch.pools[item.pool] or redis.call('SISMEMBER', call.shard .. 'pools', item.pool)
  if batch.pools[item.pool] == 0 then
    return { 'refused', 'INVALID_SPEC', 'pool: there is no pool ' .. item.pool, known_pools(call) }
  end
  item.place, item.bounds = place_of(call, batch, item.pool, item.class), tenant_of(call, batch, item.tenant)
  local paused = item.place.paused or item.bounds.paused
  if paused then return refuse_paused(paused) end
  if not item.place.is_known then
    item.place.is_known, item.place.fields[#item.place.fields + 1] = true, item.bounds.waits
    know(call, item.place.fields)
  end
  return refuse_too_fast(item, item.bounds) or sessions.judge(call, item, batch) or refuse_late(call, batch, item)
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
  if item.idem ~= '' then
    set(job, 'idem', item.idem)
    redis.call('SET', item.idem_key, item.id)
  end
  if item.deadline > 0 then
    set(job, 'deadline', int(item.deadline))
    redis.call('ZADD', call.shard .. 'due', int(item.deadline), 'deadline:' .. item.id .. ':0')
    call.timer = math.min(call.timer or item.deadline, item.deadline)
  end
  local is_next = item.ties ~= '' and sessions.bind(call, job, item, batch.arrival + 1, actor)
  if is_watched(call, item.tenant) then set(job, 'ties', job.ties and job.ties .. ' w' or 'w') end
  if item.not_before > call.now then
    move(call, job, 'schedule', actor, with_member(origin_of(item), '"due_at_ms":' .. int(item.not_before)))
    set(job, 'not_before', int(item.not_before))
    park(call, job, 'later', item.not_before)
  else
    move(call, job, 'admit', actor, origin_of(item))
    local line, entry = take_place(call, job, is_next)
    if job.aside then
      redis.call(is_next and 'LPUSH' or 'RPUSH', line, entry)
    else
      add(batch.lines, line, entry)
      batch.lengthened[item.pool] = true
    end
  end
  batch.arrival = batch.arrival + 1
  set(job, 'arrival', tostring(batch.arrival))
  add(batch.listed, item.tenant, job.arrival)
  add(batch.listed, item.tenant, item.id)
  batch.made[#batch.made + 1] = job
  call.made[item.id] = job
end

-- Those that were let in become jobs, in the order of asking, and stand in their lines; then what is free is given
-- out, and what dispatch did not write is written, each job once.
local function make_pending(call, batch, policy, actor)
  local count = #batch.pending
  if count == 0 then return end
  batch.arrival = redis.call('HINCRBY', call.shard .. 'meta', 'arrivals', count) - count
  for _, item in ipairs(batch.pending) do
    make_job(call, item, actor, batch)
    batch.items[#batch.items + 1] = item
  end
  for line, entries in pairs(batch.lines) do redis.call('RPUSH', line, unpack(entries)) end
  dispatch_touched(call, policy, actor, batch.random)
  for _, job in ipairs(batch.made) do
    if #job.writes > 0 then save(job) end
  end
  for tenant, listed in pairs(batch.listed) do
    redis.call('ZADD', call.shard .. 'jobs:' .. tenant, unpack(listed))
    -- Who had jobs waiting is known already.
    if (call.known['waits:' .. tenant] or 0) == 0 then redis.call('SADD', call.shard .. 'tenants', tenant) end
  end
  batch.pending, batch.coming, batch.made, batch.lines, batch.listed = {}, {}, {}, {}, {}
end

-- Lets in an item that judge had nothing against, or says why not. Where a bound is reached whose policy displaces, those before it in the call
-- are made first, and get what slots are free: then it is seen who really waits.
local function find_room(call, item, batch, policy, actor)
  local reached, rule = bounds_reached(call, batch, item), item.place.policy
  if #reached > 0 and KINDS[rule] and #batch.pending > 0 then
    make_pending(call, batch, policy, actor)
    reached = bounds_reached(call, batch, item)
  end
  if #reached > 0 then
    local victims = victims_for(call, item, reached, rule)
    if not victims then return refuse_full(call, item, reached[1]) end
    for _, victim in ipairs(victims) do evict(call, victim, item, rule, actor) end
    batch.evicted[rule] = (batch.evicted[rule] or 0) + #victims
  end
  let_in(batch, item, call.now)
  sessions.count(call, item, batch)
  item.answer = { 'new', item.id, 'q', -1, -1 }
  return item.answer
end

local function take_in(call, item, batch, policy, actor)
  return judge(call, item, batch) or find_room(call, item, batch, policy, actor)
end

-- What a job that waits learns: how many of its class go before it, and when it will start.
local function place_in_line(call, batch, item)
  local name, depth = item.place.name, item.place.depth
  local tail = (batch.tails[name] or counter_of(call, depth)) - 1
  batch.tails[name] = tail
  if not pace_of(call, item.pool) then return math.max(0, tail), -1 end
  local ahead, tenants = tail, turn_of(call, item.pool, item.class).active
  if tenants > 1 then
    local line = name .. ':' .. item.tenant
    local own = batch.owns[line]
    if not own then
      own = {
        tail = redis.call('LLEN', call.shard .. 'queue:' .. line),
        before = redis.call('ZRANK', call.shard .. 'turn:' .. name, item.tenant) or 0
      }
      batch.owns[line] = own
    end
    own.tail = own.tail - 1
    local others = counter_of(call, depth) - 1 - own.tail
    ahead = ahead_in_class(math.max(0, own.tail), math.max(0, others), tenants, own.before)
  end
  return math.max(0, tail), starts_in(call, item.pool, item.class, ahead)
end

-- The answers to new jobs, once it is known who waits; from the last on, for each counts those behind it.
local function tell_places(call, batch)
  batch.tails, batch.owns = {}, {}
  for n = #batch.items, 1, -1 do
    local item = batch.items[n]
    local answer, job = item.answer, call.made[item.id]
    answer[3] = job.state
    if job.state == 'q' then
      answer[4], answer[5] = place_in_line(call, batch, item)
    elseif job.state == 'y' or job.state == 'r' then
      answer[4], answer[5] = 0, 0
    elseif job.state == 's' then
      answer[5] = item.not_before - call.now
    end
  end
end

-- An index of victims that nobody needs any more costs nothing any longer.
local function rest_unused(call, batch)
  for _, place in pairs(batch.places) do
    local pool = place.pool
    local is_unused = batch.lengthened[pool] and not KINDS[place.policy]
    if is_unused and fair_of(call, pool).evicts then rest_victims(call, pool) end
  end
end

local function finish_batch(call, batch, policy, actor)
  make_pending(call, batch, policy, actor)
  tell_places(call, batch)
  rest_unused(call, batch)
  save_tokens(call, batch)
end

local function evictions_of(batch)
  local flat = {}
  for policy in pairs(KINDS) do
    if batch.evicted[policy] then
      flat[#flat + 1] = policy
      flat[#flat + 1] = batch.evicted[policy]
    end
  end
  return flat
end

local function number_or_null(number)
  return number >= 0 and int(number) or 'null'
end

local function answer_body(answer, request)
  if answer[1] == 'refused' then
    return '{' .. ERRORS[answer[2]] .. ',"message":' .. quoted(answer[3]) .. ',"request_id":' .. quoted(request)
      .. (answer[5] and ',"retry_after_ms":' .. int(answer[5]) .. ',"policy_label":"' .. answer[6] .. '"' or '')
      .. ',"details":' .. answer[4] .. '}'
  end
  return '{"job_id":"' .. answer[2] .. '","state":"' .. STATE_NAMES[answer[3]] .. '","queue_position":'
    .. number_or_null(answer[4]) .. ',"predicted_start_ms":' .. number_or_null(answer[5])
    .. ',"duplicate":' .. tostring(answer[1] == 'duplicate') .. '}'
end

-- A raw producer reads its answer under its own request id; the request itself is settled here, in the
-- same function, so that a redelivery cannot make a second job.
local function answer_request(call, item, answer)
  if not item.waits then return end
  if item.request ~= '' then
    redis.call('SET', call.shard .. 'answer:' .. item.request, answer_body(answer, item.request), 'PX', ANSWER_TTL_MS)
  end
  redis.call('XACK', call.shard .. 'requests', 'admission', item.entry)
  redis.call('XDEL', call.shard .. 'requests', item.entry)
end

local function admit(keys, argv)
  local shard, actor, policy, bounds, random, count = keys[1], argv[1], argv[2], argv[3], argv[4], tonumber(argv[5])
  local call = begin(shard)
  local items, answers, batch = {}, {}, begin_batch(call, bounds, policy)
  batch.random = random
  for n = 1, count do
    local item = item_at(argv, 6 + (n - 1) * ITEM)
    item.waits = request_waits(shard, item.entry, item.request)
    items[n], answers[n] = item, take_in(call, item, batch, policy, actor)
  end
  finish_batch(call, batch, policy, actor)
  for n = 1, count do
    local answer = answers[n]
    if answer.earlier then answer[3] = answer.earlier.answer[3] end
    local begins = answer[3] == 'y' or (answer.earlier and answer[3] == 'r')
    if answer[1] ~= 'refused' and begins then answer[4], answer[5] = 0, 0 end
    answer_request(call, items[n], answer)
  end
  return done(call, answers, evictions_of(batch), call.retired)
end
