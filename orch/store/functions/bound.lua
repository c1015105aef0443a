-- bound: what a submission is bound by: paused intake, rates, and how many may wait. Part of admit.
-- returns nil, or {"refused", code, message, details, retry_after_ms, policy_label}
-- Settings come as words of one argument, `queue_jobs_max=1000 full_policy=reject …`; what operators set over them
-- stands in `desired`.
local function bounds_of(text)
  local plain = string.match(text, '^queue_jobs_max=(%d+)$')
  if plain then return { queue_jobs_max = tonumber(plain) } end
  local bounds = {}
  for name, value in string.gmatch(text, '(%S+)=(%S+)') do bounds[name] = tonumber(value) or value end
  return bounds
end

local NOTHING = {}
-- Labels of refusals where nobody else's job could give way, or only one of the same tenant.
local QUOTAS = { key = 'key-quota', tenant = 'tenant-quota' }

local function desired_place(call, pool, name)
  local all, one, queue = '*:', 'pool:' .. pool .. ':', 'queue:' .. name .. ':'
  return redis.call('HMGET', call.shard .. 'desired', all .. 'intake', one .. 'intake', queue .. 'intake',
    queue .. 'queue_jobs_max', one .. 'pool_jobs_max', one .. 'full_policy')
end

local function desired_tenant(call, name)
  local own = 'tenant:' .. name .. ':'
  return redis.call('HMGET', call.shard .. 'desired', own .. 'intake', own .. 'tenant_jobs_max', own .. 'rate',
    own .. 'burst')
end

-- The bounds of a pool and class.
local function place_of(call, batch, pool, class)
  local name = pool .. ':' .. class
  local place = batch.places[name]
  if place then return place end
  local found = is_steered(call) and desired_place(call, pool, name) or NOTHING
  local depth = 'depth:' .. name
  place = {
    pool = pool,
    name = name,
    depth = depth,
    paused = found[1] == 'paused' and '*' or found[2] == 'paused' and 'pool:' .. pool
      or found[3] == 'paused' and 'queue:' .. name,
    queue_max = tonumber(found[4]) or batch.bounds.queue_jobs_max or 0,
    pool_max = tonumber(found[5]) or batch.bounds.pool_jobs_max or 0,
    policy = found[6] or batch.bounds.full_policy or 'reject',
    fields = { 'moves', depth }
  }
  for _, other in ipairs(call.policy.classes) do
    if other.name ~= class then place.fields[#place.fields + 1] = 'depth:' .. pool .. ':' .. other.name end
  end
  batch.places[name] = place
  return place
end

-- The bounds of a tenant, and its bucket of tokens: full after a rest, one token a submission.
local function tenant_of(call, batch, name)
  local tenant = batch.tenants[name]
  if tenant then return tenant end
  local bounds = batch.bounds
  local found = is_steered(call) and desired_tenant(call, name) or NOTHING
  tenant = {
    waits = 'waits:' .. name,
    paused = found[1] == 'paused' and 'tenant:' .. name,
    jobs_max = tonumber(found[2]) or bounds.tenant_jobs_max or 0,
    rate = tonumber(found[3]) or bounds.tenant_rate or 0,
    burst = tonumber(found[4]) or bounds.tenant_burst or 0
  }
  if tenant.rate > 0 then
    if tenant.burst <= 0 then tenant.burst = math.max(1, math.ceil(tenant.rate)) end
    local held = redis.call('GET', call.shard .. 'rate:' .. name)
    local tokens, at = string.match(held or '', '^(%S+) (%d+)$')
    local gained = at and math.max(0, call.now - tonumber(at)) * tenant.rate / 1000 or tenant.burst
    tenant.tokens = math.min(tenant.burst, tonumber(tokens or '0') + gained)
  end
  batch.tenants[name] = tenant
  return tenant
end

-- What was taken from the buckets. A full one is the same as none: the key goes when it would be full.
local function save_tokens(call, batch)
  for name, tenant in pairs(batch.tenants) do
    if tenant.took then
      local full_in = math.ceil((tenant.burst - tenant.tokens) * 1000 / tenant.rate)
      redis.call('SET', call.shard .. 'rate:' .. name, string.format('%.9g', tenant.tokens) .. ' ' .. call.now_text,
        'PX', int(math.max(1, full_in)))
      tenant.took = false
    end
  end
end

local function refused_for_load(code, message, details, wait_ms, label)
  local wait = wait_ms and math.min(DAY_MS, math.max(1, math.ceil(wait_ms))) or RETRY_AFTER_MS_START
  return { 'refused', code, message, details, wait, label }
end

local function refuse_paused(scope)
  return refused_for_load('INTAKE_PAUSED', 'intake of ' .. (scope == '*' and 'everything' or scope) .. ' is paused',
    '{"scope":"' .. scope .. '"}', RETRY_AFTER_MS_PAUSED, 'intake-paused')
end

-- A thousandth of a token is a rounding error.
local function refuse_too_fast(item, tenant)
  if tenant.rate <= 0 or tenant.tokens >= 0.999999 then return nil end
  return refused_for_load('RATE_LIMITED', 'tenant ' .. item.tenant .. ' submits faster than ' .. tenant.rate .. ' a second',
    cjson.encode({ tenant = item.tenant, rate = tenant.rate, burst = tenant.burst }),
    (1 - tenant.tokens) * 1000 / tenant.rate - 0.001, 'rate-limit')
end

-- How many will wait when those of this call that were let in so far do.
local function waiting(call, batch, field)
  return counter_of(call, field) + (batch.coming[field] or 0)
end

local function pool_depth(call, batch, pool)
  local depth = 0
  for _, class in ipairs(call.policy.classes) do
    depth = depth + waiting(call, batch, 'depth:' .. pool .. ':' .. class.name)
  end
  return depth
end

-- The bound of the item's concurrency key, when it is reached: it counts jobs that have not ended.
local function key_reached(call, batch, item)
  local key = item.ties ~= '' and ties.key_in(item.ties)
  if not key then return nil end
  local name = item.tenant .. ':' .. key
  item.keyed = 'keyed:' .. name
  local own = is_steered(call) and redis.call('HGET', call.shard .. 'desired', 'key:' .. name .. ':key_jobs_max')
  local max = tonumber(own or '') or batch.bounds.key_jobs_max or 0
  if max == 0 then return nil end
  local live = redis.call('SCARD', call.shard .. item.keyed) + (batch.coming[item.keyed] or 0)
  return live >= max and { scope = 'key', depth = live, max = max, key = key } or nil
end

-- Which bounds are reached, from the narrowest on, each with what a refusal says of it.
local function bounds_reached(call, batch, item)
  local place, tenant, key = item.place, item.bounds, key_reached(call, batch, item)
  local depth = waiting(call, batch, place.depth)
  if not key and depth < place.queue_max and tenant.jobs_max == 0 and place.pool_max == 0 then return NOTHING end
  local reached = { key }
  if tenant.jobs_max > 0 then
    local waits = waiting(call, batch, tenant.waits)
    if waits >= tenant.jobs_max then
      reached[#reached + 1] = { scope = 'tenant', depth = waits, max = tenant.jobs_max }
    end
  end
  if depth >= place.queue_max then
    reached[#reached + 1] = { scope = 'queue', depth = depth, max = place.queue_max }
  end
  if place.pool_max > 0 then
    local all = pool_depth(call, batch, item.pool)
    if all >= place.pool_max then reached[#reached + 1] = { scope = 'pool', depth = all, max = place.pool_max } end
  end
  return reached
end

-- When the bound will have room again, at the measured pace: the tenant's turns (its keys' too), the class's share, or
-- the pool's.
local function frees_in(call, item, bound)
  local over = bound.depth - bound.max
  if bound.scope == 'pool' then
    local gap = pace_of(call, item.pool)
    return gap and (over + 1) * gap
  end
  if bound.scope == 'queue' then return starts_in(call, item.pool, item.class, over) end
  return starts_in(call, item.pool, item.class, over * math.max(1, turn_of(call, item.pool, item.class).active))
end

local function refuse_full(call, item, bound)
  local name = bound.scope .. '_jobs_max'
  local what = bound.scope == 'key' and 'concurrency key ' .. bound.key .. ' has as many jobs as it may have'
    or bound.scope == 'tenant' and 'tenant ' .. item.tenant .. ' has as many waiting jobs as it may have'
    or bound.scope == 'pool' and 'pool ' .. item.pool .. ' is full'
    or 'the queue of pool ' .. item.pool .. ', class ' .. item.class .. ' is full'
  local details = '{"queue_depth":' .. int(bound.depth) .. ',"' .. name .. '":' .. int(bound.max) .. '}'
  return refused_for_load('QUEUE_FULL', what, details, frees_in(call, item, bound),
    QUOTAS[bound.scope] or item.place.policy)
end
