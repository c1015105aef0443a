-- desired: what operators wish of pools, runners and tenants, as far as dispatch obeys it. Part of dispatch.
-- returns tables that hold for one call
-- One hash, written by `apply`. While nobody ever set anything, all questions of a call cost one EXISTS.
local NOTHING = {}

-- Whether anything was ever set; then it is asked once a call.
local function is_steered(call)
  if call.is_steered == nil then call.is_steered = redis.call('EXISTS', call.shard .. 'desired') == 1 end
  return call.is_steered
end

local function read_desired(call, fields)
  return is_steered(call) and redis.call('HMGET', call.shard .. 'desired', unpack(fields)) or NOTHING
end

-- {is_paused, drains, paused = {class = true}, drained = {runner = true}} of a pool with these slots. Of a call
-- that has no policy nobody asks which classes are paused.
function desired.pool(call, pool, slots)
  local wishes = { paused = {}, drained = {} }
  call.wishes[pool] = wishes
  if not is_steered(call) then return wishes end
  local classes = call.policy and call.policy.classes or NOTHING
  local fields = { '*:dispatch', 'pool:' .. pool .. ':dispatch', 'pool:' .. pool .. ':drain', '*:drain' }
  for n, class in ipairs(classes) do fields[4 + n] = 'queue:' .. pool .. ':' .. class.name .. ':dispatch' end
  for i = 1, #slots, 2 do fields[#fields + 1] = 'runner:' .. slots[i] .. ':drain' end
  local values = read_desired(call, fields)
  wishes.is_paused = values[1] == 'paused' or values[2] == 'paused'
  wishes.drains = (values[3] or values[4]) and true or false
  for n, class in ipairs(classes) do wishes.paused[class.name] = values[4 + n] == 'paused' end
  for i = 1, #slots, 2 do
    if values[4 + #classes + (i + 1) / 2] then wishes.drained[slots[i]] = true end
  end
  return wishes
end

-- {is_paused, running_max or nil, weight} of a tenant.
function desired.tenant(call, tenant)
  local name = 'tenant:' .. tenant
  local wishes = call.wishes[name]
  if wishes then return wishes end
  wishes = { weight = 1 }
  call.wishes[name] = wishes
  if not is_steered(call) then return wishes end
  local values = read_desired(call, { name .. ':dispatch', name .. ':running_max', name .. ':weight' })
  wishes.is_paused = values[1] == 'paused'
  wishes.running_max = tonumber(values[2])
  wishes.weight = math.max(1, tonumber(values[3] or '1'))
  return wishes
end

-- How many jobs of a concurrency key may be ready or running.
function desired.key_running_max(call, tenant, key)
  local field = 'key:' .. tenant .. ':' .. key .. ':running_max'
  if call.wishes[field] then return call.wishes[field] end
  local most = tonumber(read_desired(call, { field })[1] or '')
  call.wishes[field] = most or call.policy.key_running_max
  return call.wishes[field]
end
