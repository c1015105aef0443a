-- settle: accepts the result of the claim in force and completes the job. Part of cycle.
-- returns "ok" | "same" | "over"
-- A result whose claim is over is kept as evidence, once for each claim, and never counted.
local function keep_orphan(call, job, claim, result)
  if not job or tonumber(redis.call('HGET', job.key, 'orphans') or '0') >= ORPHANS_MAX then return end
  if redis.call('HSETNX', job.key, 'orphan:' .. claim, '1') == 0 then return end
  redis.call('HINCRBY', job.key, 'orphans', 1)
  local kept = #result <= 512 and result or '{"bytes":' .. #result .. ',"sha1":"' .. redis.sha1hex(result) .. '"}'
  record(call, job, 'orphaned_result', 'runner', '{"claim":"' .. claim .. '","result":' .. kept .. '}')
  save(job)
end

local function settle_late(call, id, claim, result)
  local job = load_job(call, id)
  local verdict = judge_claim(job, claim)
  if verdict == 'over' then keep_orphan(call, job, claim, result) end
  return verdict
end

local SETTLE_FIELDS = { 'state', 'seq', 'attempt', 'epoch', 'claim', 'runner', 'notes', 'wish', 'deadline', 'ties' }

local function settle_one(call, id, claim, ending, result)
  local job = load_job(call, id, SETTLE_FIELDS)
  if judge_claim(job, claim) ~= 'ok' then return settle_late(call, id, claim, result) end
  move(call, job, 'settle', 'runner', ending)
  set(job, 'result', result)
  set(job, 'outcome', 'done')
  end_claim(call, job)
  -- Only a note makes progress, and the first attempt inherits none.
  if job.attempt ~= '1' or job.notes then drop(job, 'progress') end
  finish(call, job)
  save(job)
  return 'ok'
end
