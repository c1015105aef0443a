-- reclaim: a runner tells a server that came back which claims it works under; what was undone is done again.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] runner string instance id
-- ARGV[2] pool string the pool it serves
-- ARGV[3] more integer 1 when another call with the rest follows
-- ARGV[4] count integer claims, 0 to 1,000; then per claim 6 arguments:
-- ARGV[n] claim strings job id, claim, epoch, attempt, notes written, progress JSON or empty
-- returns {"ok", incarnation, seq, {"ok" | "over" …}} | {"runner_over"}
-- flags: allow-oom
-- A failover or `everysec` may undo what was acknowledged. A job that stands where it stood before the claim
-- gets the claim back, so that it is not given away while it runs; one that moved on does not, nor one whose session
-- another job has meanwhile.
local CLAIM = 6

-- Evidence that was undone is gone; where the attempt had come to must not be, or finished steps run again.
local function catch_up(job, notes, progress)
  if tonumber(notes) <= tonumber(job.notes or '0') then return end
  set(job, 'notes', notes)
  if progress ~= '' then set(job, 'progress', progress) end
end

-- Whether the job stands as it stood before that claim. After several losses it may have come as far on another
-- way, under later claims; one that lies before them is never in force again, for a fence only grows.
local function is_before(job, epoch, attempt)
  return STATES[job.state]['reclaim'] and tonumber(job.attempt or '0') == attempt - 1
    and tonumber(job.epoch or '0') < tonumber(epoch)
end

-- Only a runner that was asked gets a claim back: a copy of its answer that was late on the wire would restore
-- what it has given up since, and nobody would run that.
local function reclaim_one(call, runner, is_asked, argv, base)
  local id, claim, epoch, attempt = argv[base], argv[base + 1], argv[base + 2], tonumber(argv[base + 3])
  local job = load_job(call, id)
  if not job then return 'over' end
  if job.state ~= 'r' or job.claim ~= claim then
    if not is_asked or not is_before(job, epoch, attempt) or not ties.may_have_session(call, job) then return 'over' end
    leave_line(call, job)
    set(job, 'attempt', int(attempt))
    set(job, 'epoch', epoch)
    set(job, 'claim', claim)
    set(job, 'runner', runner)
    set(job, 'notes', '0')
    set(job, 'claimed_at', int(call.now))
    move(call, job, 'reclaim', 'runner', '{"runner":"' .. runner .. '","claim":"' .. claim .. '"}')
  end
  catch_up(job, argv[base + 4], argv[base + 5])
  save(job)
  redis.call('HSET', call.shard .. 'held:' .. runner, id, claim)
  return 'ok'
end

local function reclaim(keys, argv)
  local shard, runner, pool, more, count = keys[1], argv[1], argv[2], argv[3], tonumber(argv[4])
  if redis.call('HEXISTS', shard .. 'beats', runner) == 0 then return { 'runner_over' } end
  local call = begin(shard)
  local slots = redis.call('HGET', shard .. 'slots:' .. pool, runner)
  local is_asked = slots and is_recalled(slots)
  local verdicts = {}
  for n = 1, count do verdicts[n] = reclaim_one(call, runner, is_asked, argv, 5 + (n - 1) * CLAIM) end
  if more == '0' and is_asked then
    redis.call('HSET', shard .. 'slots:' .. pool, runner, string.sub(slots, 2))
  end
  return done(call, verdicts)
end
