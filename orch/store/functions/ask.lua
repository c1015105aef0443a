-- ask: the agent asked a question; the job blocks and its slot is free. Part of cycle.
-- returns "ok" | "same" | "over"
local function ask_one(call, id, claim, ending, question, expires_in)
  local job = load_job(call, id)
  local verdict = judge_claim(job, claim)
  if verdict ~= 'ok' then return verdict end
  local asked = cjson.decode(question)
  local expires_at = call.now + expires_in
  local full = with_member(question, '"expires_at_ms":' .. int(expires_at))
  record(call, job, 'question_asked', 'runner', full)
  move(call, job, 'ask', 'runner', ending)
  end_claim(call, job)
  set(job, 'block_reason', asked.block_reason)
  set(job, 'question', full)
  set(job, 'question_id', asked.question_id)
  park(call, job, 'question', expires_at)
  tell_hooks(call, job)
  save(job)
  return 'ok'
end
