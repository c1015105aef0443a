-- claim: hands ready jobs of a pool to one runner, each under a fresh claim. Part of cycle.
-- returns per job {id, claim, attempt, spec, progress, answer, wish, outs, epoch}
-- XREADGROUP NOACK takes an entry for exactly one runner and leaves no pending list to take over;
-- what was read is deleted at once, and the ticket says whether it is still the job's.
local CLAIM_FIELDS = { 'spec', 'progress', 'answer', 'wish', 'outs' }

local function read_ready(ready, runner, most)
  local command = { 'XREADGROUP', 'GROUP', 'runners', runner, 'COUNT', most, 'NOACK', 'STREAMS', ready, '>' }
  -- The one pcall: this read is never refused for memory. A stream that was lost and begun anew by
  -- dispatch has no group, and without one no runner of the pool could ever claim again.
  local reply = redis.pcall(unpack(command))
  if not (type(reply) == 'table' and reply.err) then return reply end
  ensure_group(ready, 'runners')
  return redis.call(unpack(command))
end

local function take_ready(call, pool, runner, most)
  local ready = call.shard .. 'ready:' .. pool
  local reply = read_ready(ready, runner, most)
  local jobs, read, taken = {}, {}, {}
  for _, entry in ipairs(entries_of(reply)) do
    read[#read + 1] = entry[1]
    local id, ticket = string.match(field_of(entry, 'j') or '', '^(.+):(%d+)$')
    local job = id and load_job(call, id)
    -- A repair may have added an entry again: the second one of this very read is stale.
    if stands_here(job, 'y', pool, ticket) and not taken[id] then
      taken[id] = true
      jobs[#jobs + 1] = job
    end
  end
  if #read > 0 then redis.call('XDEL', ready, unpack(read)) end
  return jobs
end

local function claim_one(call, job, runner, incarnation, number, random)
  local claim = incarnation .. '.' .. int(number) .. '.' .. random
  set(job, 'attempt', tostring(tonumber(job.attempt or '0') + 1))
  set(job, 'epoch', int(incarnation * FENCE + number))
  set(job, 'claim', claim)
  set(job, 'runner', runner)
  set(job, 'notes', '0')
  set(job, 'claimed_at', int(call.now))
  move(call, job, 'claim', 'runner', '{"runner":"' .. runner .. '","claim":"' .. claim .. '"}')
  save(job)
  redis.call('HSET', call.shard .. 'held:' .. runner, job.id, claim)
  return claim
end

local function offer_of(job)
  local extra = redis.call('HMGET', job.key, unpack(CLAIM_FIELDS))
  return { job.id, job.claim, tonumber(job.attempt), extra[1], extra[2] or '', extra[3] or '',
    extra[4] or '', tonumber(extra[5] or '0'), job.epoch }
end

local function claim_jobs(call, pool, runner, most, random)
  local jobs = take_ready(call, pool, runner, most)
  if #jobs == 0 then return {} end
  local meta = call.shard .. 'meta'
  local incarnation = tonumber(redis.call('HGET', meta, 'incarnation'))
  local last = redis.call('HINCRBY', meta, 'claims', #jobs)
  local offers = {}
  for n, job in ipairs(jobs) do
    claim_one(call, job, runner, incarnation, last - #jobs + n, random)
    offers[n] = offer_of(job)
  end
  return offers
end
