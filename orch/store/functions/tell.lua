-- tell: what happened to a job of a tenant with webhooks becomes one pending delivery for each of them.
-- returns nothing; part of every verb that ends or blocks a job, and of those that let a webhook's work begin
-- The first file of the library: it needs nothing of the others.
-- Which events the hooks of a tenant that are not switched off want; read once a call. Sorted, so that every
-- engine writes in the same order.
local function hooks_of(call, tenant)
  if call.hooks[tenant] then return call.hooks[tenant] end
  local found, flat = {}, redis.call('HGETALL', call.shard .. 'hooks:' .. tenant)
  for i = 1, #flat, 2 do
    local place = tenant .. ':' .. flat[i]
    if redis.call('HEXISTS', call.shard .. 'tally:' .. place, 'off') == 0 then
      local wants = {}
      for _, event in ipairs(cjson.decode(flat[i + 1]).events) do wants[event] = true end
      found[#found + 1] = { place = place, wants = wants }
    end
  end
  table.sort(found, function(a, b) return a.place < b.place end)
  call.hooks[tenant] = found
  return found
end

-- The tie `w` was given at admission: a job of a tenant without webhooks costs nothing here.
local function has_hooks(job)
  return job.ties and string.find(' ' .. job.ties .. ' ', ' w ', 1, true) ~= nil
end

-- A member of `posts` names the very event: its letter, the ledger entry, when, whose.
local function tell_hooks(call, job)
  if not has_hooks(job) then return end
  -- A verb that runs for every job does not load the tenant for the few that have webhooks.
  local tenant = job.tenant or redis.call('HGET', job.key, 'tenant')
  local event = 'job.' .. STATE_NAMES[job.state]
  for _, hook in ipairs(hooks_of(call, tenant)) do
    if hook.wants[event] then
      local posts = call.posts[hook.place]
      if not posts then
        posts = {}
        call.posts[hook.place] = posts
        call.places[#call.places + 1] = hook.place
      end
      posts[#posts + 1] = call.now_text
      posts[#posts + 1] = job.state .. ':' .. job.seq .. ':' .. call.now_text .. ':' .. job.id
    end
  end
end

-- Wakes a notifier, once a call.
local function notice(call, place)
  if call.noticed then return end
  call.noticed = true
  redis.call('XADD', call.shard .. 'notices', 'MAXLEN', 16, '*', 'hook', place)
end

-- A hook whose deliveries a notifier has in hand is looked at again when that one says how they went.
local function call_notifier(call, place, at)
  local busy = tonumber(redis.call('HGET', call.shard .. 'tally:' .. place, 'busy') or '0')
  if busy > call.now then return end
  redis.call('ZADD', call.shard .. 'unsent', 'LT', at, place)
  notice(call, place)
end

-- Where a receiver has been away for so long that its line is full, the newest are dropped and counted.
local function post_all(call)
  table.sort(call.places)
  for _, place in ipairs(call.places) do
    local posts, line = call.posts[place], call.shard .. 'posts:' .. place
    local room = POSTS_MAX - redis.call('ZCARD', line)
    if #posts / 2 > room then
      redis.call('HINCRBY', call.shard .. 'tally:' .. place, 'dropped', #posts / 2 - math.max(0, room))
    end
    if room > 0 then
      redis.call('ZADD', line, 'NX', unpack(posts, 1, math.min(#posts, 2 * room)))
      call_notifier(call, place, call.now_text)
    end
  end
  call.places = {}
end
