-- cancel: ends a job at once, wherever it is; a running agent is told, and its result is refused.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] job string id
-- ARGV[2] who string JSON members `by` and, if given, `note`
-- ARGV[3] actor string which door
-- returns {"ok", incarnation, seq} | {"same"} | {"refused", state} | {"unknown"}
-- flags: allow-oom
local function cancel_job(call, job, who, actor)
  local payload = '{' .. who .. ',"reason":"canceled"'
  if job.state == 'r' and job.claim then
    payload = payload .. ',"outcome":"canceled"'
    tell_runner(call, job, 'cancel')
  end
  leave_line(call, job)
  move(call, job, 'cancel', actor, payload .. '}')
  -- The slot stays held until the runner says that the work has stopped.
  if job.claim then drop(job, 'claim') end
  set(job, 'outcome', 'canceled')
  drop(job, 'question')
  drop(job, 'question_id')
  drop(job, 'block_reason')
  finish(call, job)
  save(job)
end

local function cancel(keys, argv)
  local shard, id, who, actor = keys[1], argv[1], argv[2], argv[3]
  local call = begin(shard)
  local job = load_job(call, id)
  if not job then return { 'unknown' } end
  if job.state == 'X' then return { 'same' } end
  if not allowed(job, 'cancel') then return { 'refused', job.state } end
  cancel_job(call, job, who, actor)
  return done(call)
end
