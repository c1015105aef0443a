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

local function settle_one(call, id, claim, ending, result)
  local job = load_job(call, id)
  local verdict = judge_claim(job, claim)
  if verdict == 'over' then keep_orphan(call, job, claim, result) end
  if verdict ~= 'ok' then return verdict end
  move(call, job, 'settle', 'runner', ending)
  set(job, 'result', result)
  set(job, 'outcome', 'done')
  end_claim(call, job)
  drop(job, 'progress')
  finish(call, job)
  save(job)
  return 'ok'
end
