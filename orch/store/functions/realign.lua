-- realign: puts jobs that a sweep collected back to the heads of their lines, so that the oldest comes first.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] most integer jobs in this call, 1 to 1,000
-- ARGV[2] policy string as in dispatch
-- ARGV[n] waits strings `tenant~tie`: jobs stand aside for them, and are called in where there is room
-- returns {"ok", incarnation, seq, left, {{index, name}…}} | {"none"}
-- flags: allow-oom
-- From the youngest on, each to the head; what stood in the line already is taken out first, as far as the bound
-- on looking allows. Beyond it a job may stand in its line twice: the second entry is dropped when it is popped.
local function take_out(sweep, line, entry)
  local entries = redis.call('LLEN', line)
  if sweep.looked + entries > LOOKS_MAX then return false end
  sweep.looked = sweep.looked + entries
  return redis.call('LREM', line, 1, entry) == 1
end

local function realign_one(call, sweep, entry)
  local id, ticket = string.match(entry, '^(.+):(%d+)$')
  local job = load_job(call, id)
  if not job or not stands_here(job, 'q', job.pool, ticket) then return end
  local line = list_of(call, job)
  local stood = take_out(sweep, line, entry)
  redis.call('LPUSH', line, entry)
  if job.aside then
    ties.loosen(call, job.tenant, job.aside)
  else
    wake_tenant(call, job.pool, job.class, job.tenant)
    call.pools[job.pool] = true
  end
  if stood then return end
  mended(call, sweep, job, job.aside and 'aside' or 'queue', 'not in its line')
  save(job)
end

local function realign(keys, argv)
  local shard, most, policy = keys[1], tonumber(argv[1]), argv[2]
  local astray = redis.call('ZPOPMAX', shard .. 'astray', most)
  if #astray == 0 and #argv == 2 then return { 'none' } end
  local call, sweep = begin(shard), begin_page({})
  for n = 3, #argv do
    local tenant, tie = string.match(argv[n], '^([^~]+)~(.+)$')
    ties.loosen(call, tenant, tie)
  end
  for i = 1, #astray, 2 do realign_one(call, sweep, astray[i]) end
  local left = redis.call('ZCARD', shard .. 'astray')
  -- Not before all are in line again: the oldest come last.
  if left == 0 then dispatch_touched(call, policy, 'reaper') end
  return done(call, left, sweep.repairs)
end
