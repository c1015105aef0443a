-- resume: lets a paused job go on from its last durable progress.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] job string id
-- ARGV[2] who string JSON members `by` and, if given, `note`
-- ARGV[3] actor string which door
-- ARGV[4] policy string as in dispatch
-- returns {"ok", incarnation, seq} | {"same"} | {"refused", state} | {"unknown"}
-- flags: allow-oom
local function resume(keys, argv)
  local shard, id, who, actor, policy = keys[1], argv[1], argv[2], argv[3], argv[4]
  local call = begin(shard)
  local job = load_job(call, id)
  if not job then return { 'unknown' } end
  local payload = '{' .. who .. '}'
  if job.wish == 'pause' then
    record(call, job, 'pause_withdrawn', actor, payload)
    drop(job, 'wish')
    if job.claim then tell_runner(call, job, 'resume') end
  elseif job.state == 'p' then
    if tonumber(job.not_before or '0') > call.now then
      move(call, job, 'resume_later', actor, payload)
      park(call, job, 'later', tonumber(job.not_before))
    else
      move(call, job, 'resume', actor, payload)
      enqueue(call, job, false)
    end
  elseif STATES[job.state]['cancel'] and job.state ~= 'b' then
    return { 'same' }
  else
    return { 'refused', job.state }
  end
  save(job)
  dispatch_touched(call, policy, actor)
  return done(call)
end
