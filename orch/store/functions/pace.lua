-- pace: how fast a pool gives jobs out, measured in dispatch; what follows for those that wait. Part of dispatch.
-- returns milliseconds, or nil while nothing was measured
-- Hash `fair:<pool>`: `pace` dispatches in `pace_ms`, both fading, while somebody waited and somebody served; what
-- found a free slot at once says nothing of how fast slots come free. `pace_at`: the last one, 0 when nobody waited.
-- Sums fade instead of a rate: rounds of many jobs at once and single jobs weigh alike.
-- `is_backlogged` is nil where the call did not look.
local function measure_pace(call, pool, served, is_backlogged, is_served)
  if is_backlogged == nil and is_served then return {} end
  local fair = fair_of(call, pool)
  local at, pace, ms = tonumber(fair.pace_at or '0'), tonumber(fair.pace or '0'), tonumber(fair.pace_ms or '0')
  local now_at = (is_backlogged and is_served) and call.now or 0
  if served == 0 and (at > 0) == (now_at > 0) then return {} end
  local writes = { 'pace_at', int(now_at) }
  if served > 0 and at > 0 then
    local gap = math.max(0, call.now - at)
    local fade = 1 + math.min(served / PACE_DISPATCHES, gap / PACE_MS)
    fair.pace, fair.pace_ms = pace / fade + served, ms / fade + gap
    for _, name in ipairs({ 'pace', 'pace_ms' }) do
      writes[#writes + 1] = name
      writes[#writes + 1] = fair[name]
    end
  end
  fair.pace_at = now_at
  return writes
end

-- Milliseconds between two dispatches of a pool. A pool that has stood still for longer than all that was
-- measured is no faster than that.
local function pace_of(call, pool)
  local fair = fair_of(call, pool)
  local pace, ms, at = tonumber(fair.pace or '0'), tonumber(fair.pace_ms or '0'), tonumber(fair.pace_at or '0')
  if pace <= 0 then return nil end
  return math.max(ms, at > 0 and call.now - at or 0) / pace
end

-- Where a class stands in the pool's virtual time: the tag of its next turn.
local function tag_of(call, pool, class)
  local turn = call.turns[pool .. ':' .. class]
  local fair = fair_of(call, pool)
  return math.max(turn and turn.finish or tonumber(fair['c:' .. class] or '0'), tonumber(fair.v or '0'))
end

-- How many jobs of all classes go before the one that has `ahead` of its own class before it, if nobody comes
-- later: classes share by weight, or the higher goes first.
local function ahead_of_all(call, pool, class, ahead)
  local own, total, is_above = nil, ahead, true
  for _, one in ipairs(call.policy.classes) do
    if one.name == class then own = one end
  end
  if not own then return ahead end
  for _, one in ipairs(call.policy.classes) do
    local depth = counter_of(call, 'depth:' .. pool .. ':' .. one.name)
    if one == own then
      is_above = false
    elseif depth > 0 and call.policy.strict then
      total = total + (is_above and depth or 0)
    elseif depth > 0 then
      local lead = tag_of(call, pool, class) - tag_of(call, pool, one.name) + ahead / own.weight
      total = total + math.min(depth, math.max(0, math.ceil(lead * one.weight)))
    end
  end
  return total
end

-- When the job with so many of its class before it will start.
local function starts_in(call, pool, class, ahead)
  local gap = pace_of(call, pool)
  if not gap then return nil end
  local at = tonumber(fair_of(call, pool).pace_at or '0')
  local since = at > 0 and math.max(0, math.min(call.now - at, gap)) or 0
  -- A thousandth of a millisecond is a rounding error.
  return math.max(0, math.ceil((ahead_of_all(call, pool, class, ahead) + 1) * gap - since - 0.001))
end

-- How many of its class go before a job that has `own` of its tenant before it: tenants take turns, so about as
-- many of each other one, but no more than there are (`others`). `before`: tenants whose turn comes first.
local function ahead_in_class(own, others, tenants, before)
  return own + math.min(others, (tenants - 1) * own + before)
end
