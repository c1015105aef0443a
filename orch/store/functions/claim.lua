-- claim: hands jobs of a pool to one runner, each under a fresh claim. Part of dispatch, for cycle.
-- returns per job {id, claim, attempt, spec, progress, answer, wish, outs, epoch, ms it waited in line, class}
-- XREADGROUP NOACK takes an entry for exactly one runner and leaves no pending list to take over;
-- what was read is deleted at once, and the ticket says whether it is still the job's.
local CLAIM_FIELDS = { 'state', 'seq', 'ticket', 'pool', 'class', 'attempt', 'epoch', 'spec', 'ties',
  'queued_at' }
local LATER_FIELDS = { 'progress', 'answer', 'wish', 'outs' }
local TIME_FIELDS = { 'claimed_at', 'queued_at' }

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
    local job = id and load_job(call, id, CLAIM_FIELDS)
    -- A repair may have added an entry again: the second one of this very read is stale.
    if stands_here(job, 'y', pool, ticket) and not taken[id] then
      taken[id] = true
      jobs[#jobs + 1] = job
    end
  end
  if #read > 0 then redis.call('XDEL', ready, unpack(read)) end
  return jobs, #read - #jobs
end

-- Who claims in this call, what is claimed so far, and how much of it came straight from the lines.
local function begin_claims(runner, most, random)
  return { runner = runner, most = most, random = random, offers = {}, held = {}, straight = 0 }
end

-- Numbers are reserved before a claim that bears one is written: no number is ever given twice.
local function reserve(call, claims, count)
  if count == 0 then return end
  claims.number = redis.call('HINCRBY', call.shard .. 'meta', 'claims', count) - count
end

-- How long the job had waited in its line when it was claimed.
local function waited_ms(job)
  local claimed_at, queued_at = job.claimed_at, job.queued_at
  if not claimed_at then claimed_at, queued_at = unpack(redis.call('HMGET', job.key, unpack(TIME_FIELDS))) end
  return claimed_at and queued_at and math.max(0, tonumber(claimed_at) - tonumber(queued_at)) or 0
end

-- What an offer says beside the claim; the first attempt finds nothing of an earlier one.
local function offer_of(job)
  local first = not job.attempt or job.attempt == '1'
  local extra = first and job.spec and {} or redis.call('HMGET', job.key, unpack(LATER_FIELDS))
  local spec = job.spec or redis.call('HGET', job.key, 'spec')
  return { job.id, job.claim, tonumber(job.attempt), spec, extra[1] or '', extra[2] or '',
    extra[3] or '', tonumber(extra[4] or '0'), job.epoch, waited_ms(job), job.class }
end

local function claim_one(call, job, claims)
  local number, runner, incarnation = claims.number + 1, claims.runner, incarnation_of(call)
  local claim = incarnation .. '.' .. number .. '.' .. claims.random
  claims.number = number
  if job.attempt then set(job, 'notes', '0') end
  set(job, 'attempt', job.attempt and tostring(tonumber(job.attempt) + 1) or '1')
  set(job, 'epoch', int(incarnation * FENCE + number))
  set(job, 'claim', claim)
  set(job, 'runner', runner)
  set(job, 'claimed_at', call.now_text)
  move(call, job, 'claim', 'runner', '{"runner":"' .. runner .. '","claim":"' .. claim .. '"}')
  save(job)
  local held, offers = claims.held, claims.offers
  held[#held + 1] = job.id
  held[#held + 1] = claim
  offers[#offers + 1] = offer_of(job)
end

-- The runner's slots; what a server error cuts off here, a repair puts back.
local function hold(call, claims)
  if #claims.held > 0 then redis.call('HSET', call.shard .. 'held:' .. claims.runner, unpack(claims.held)) end
  claims.held = {}
end

-- Returns how many entries were nobody's place: the room that they seemed to take is free.
local function claim_ready(call, pool, claims)
  if claims.most == 0 then return 0 end
  local jobs, stale = take_ready(call, pool, claims.runner, claims.most)
  reserve(call, claims, #jobs)
  for _, job in ipairs(jobs) do claim_one(call, job, claims) end
  return stale
end
