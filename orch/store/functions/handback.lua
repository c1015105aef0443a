-- handback: a runner that leaves gives a job back; the attempt is no failure. Part of cycle.
-- returns "ok" | "same" | "over"
local function handback_one(call, id, claim, ending)
  local job = load_job(call, id)
  local verdict = judge_claim(job, claim)
  if verdict ~= 'ok' then return verdict end
  move(call, job, 'handback', 'runner', ending)
  end_claim(call, job)
  enqueue(call, job, true)
  save(job)
  return 'ok'
end
