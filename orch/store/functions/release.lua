-- release: ends the claim in force without a result; the outcome waits for a decision. Part of cycle.
-- returns "ok" | "same" | "over"
-- The outcome stands in the job hash and in `undecided`; the entry in `outcomes` is only the hint, and
-- the reaper repeats it.
local function undecide(call, job, outcome)
  set(job, 'ending', outcome)
  set(job, 'undecided', tostring(job.seq))
  redis.call('ZADD', call.shard .. 'undecided', int(call.now), job.id .. ':' .. job.seq)
  redis.call('XADD', call.shard .. 'outcomes', '*', 'j', job.id .. ':' .. job.seq)
end

local function release_one(call, id, claim, ending)
  local job = load_job(call, id)
  local verdict = judge_claim(job, claim)
  if verdict ~= 'ok' then return verdict end
  move(call, job, 'release', 'runner', ending)
  end_claim(call, job)
  undecide(call, job, ending)
  save(job)
  return 'ok'
end
