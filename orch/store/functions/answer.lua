-- answer: gives a blocked job its answer and queues it again, at the head of its line.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] job string id
-- ARGV[2] question string the question that is answered
-- ARGV[3] value string JSON
-- ARGV[4] by string JSON string, who
-- ARGV[5] reason string JSON string or null
-- ARGV[6] actor string which door
-- ARGV[7] policy string as in dispatch
-- ARGV[8] nonce string this very call's own mark: repeated after a lost reply it is answered as at first
-- returns {"ok", incarnation, seq} | {"same"} | {"answered"} | {"refused", state} | {"unknown"}
-- flags: allow-oom
local function answer(keys, argv)
  local shard, id, question_id, value, by, reason, actor, policy, nonce =
    keys[1], argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], argv[7], argv[8]
  local call = begin(shard)
  local job = load_job(call, id)
  if not job then return { 'unknown' } end
  local answered = redis.call('HGET', job.key, 'answered:' .. question_id)
  if answered == nonce then return { 'same' } end
  if answered then return { 'answered' } end
  if not allowed(job, 'answer') then return { 'refused', job.state } end
  if job.question_id ~= question_id then return { 'answered' } end
  local asked = cjson.decode(redis.call('HGET', job.key, 'question'))
  local step = asked.step_id and asked.step_id ~= cjson.null and quoted(asked.step_id) or 'null'
  record(call, job, 'question_answered', actor, '{"question_id":"' .. question_id .. '","value":' .. value
    .. ',"by":' .. by .. ',"reason":' .. reason .. '}')
  leave_line(call, job)
  move(call, job, 'answer', actor, '{"by":' .. by .. '}')
  set(job, 'answer', '{"question_id":"' .. question_id .. '","step_id":' .. step .. ',"value":' .. value .. '}')
  set(job, 'answered:' .. question_id, nonce)
  drop(job, 'question')
  drop(job, 'question_id')
  drop(job, 'block_reason')
  enqueue(call, job, true)
  save(job)
  dispatch_touched(call, policy, actor)
  return done(call)
end
