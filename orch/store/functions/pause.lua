-- pause: stops a waiting job now, and a running one at its next step.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] job string id
-- ARGV[2] who string JSON members `by` and, if given, `note`
-- ARGV[3] actor string which door
-- ARGV[4] policy string as in dispatch
-- returns {"ok", incarnation, seq} | {"same"} | {"refused", state} | {"unknown"}
-- flags: allow-oom
local function pause_one(call, job, members, actor)
  if job.state == 'p' or (job.state == 'r' and job.wish == 'pause') then return 'same' end
  if job.state == 'r' then
    record(call, job, 'pause_wished', actor, '{' .. members .. '}')
    set(job, 'wish', 'pause')
    if job.claim then tell_runner(call, job, 'pause') end
  elseif allowed(job, 'pause') then
    leave_line(call, job)
    move(call, job, 'pause', actor, '{' .. members .. '}')
    -- Wished while it ran, fulfilled now: after a resume it must not stop again.
    if job.wish then drop(job, 'wish') end
  else
    return 'refused'
  end
  save(job)
  return 'ok'
end

local function pause(keys, argv)
  local shard, id, who, actor, policy = keys[1], argv[1], argv[2], argv[3], argv[4]
  local call = begin(shard)
  local job = load_job(call, id)
  if not job then return { 'unknown' } end
  local verdict = pause_one(call, job, who, actor)
  if verdict == 'same' then return { 'same' } end
  if verdict == 'refused' then return { 'refused', job.state } end
  dispatch_touched(call, policy, actor)
  return done(call)
end
