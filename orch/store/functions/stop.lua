-- stop: a running job stopped because an operator paused it; finished steps are kept. Part of cycle.
-- returns "ok" | "same" | "over"
local function stop_one(call, id, claim, ending)
  local job = load_job(call, id)
  local verdict = judge_claim(job, claim)
  if verdict ~= 'ok' then return verdict end
  -- Resumed in the meantime: the wish is gone, so the job goes straight back to its line.
  if job.wish ~= 'pause' then return handback_one(call, id, claim, ending) end
  move(call, job, 'stop', 'runner', ending)
  end_claim(call, job)
  drop(job, 'wish')
  save(job)
  return 'ok'
end
