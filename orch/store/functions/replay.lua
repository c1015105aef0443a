-- replay: makes a new job of a dead letter; both name each other.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] actor string which door
-- ARGV[2] policy string as in dispatch
-- ARGV[3] bounds string as in admit
-- ARGV[4] by string JSON string, who
-- ARGV[5] count integer dead letters, 1 to 1,000; then per letter 2 arguments:
-- ARGV[n] letter strings id of the dead letter, id of the new job
-- returns {"ok", incarnation, seq, {answer…}, {policy, evicted…}, {id of a job that ended…}}; answer {"new", id, state} | {"replayed", id} | {"unknown"} | {"alive", state} | what admit answers to one it refuses
-- A dead letter is replayed once: asked again it answers with the job it became. The new job is bound
-- neither by the old deadline nor by the old idempotency key: both belong to the first submission.
local LETTER = 2

-- The item's ties of a job that was made before; how it meets its session stands only in the spec.
local function ties_again(old, spec)
  if not old.ties then return '' end
  local words = {}
  for word in string.gmatch(old.ties, '%S+') do
    if word ~= 't' and word ~= 'w' then words[#words + 1] = word end
  end
  local policy = ties.session_of(old) and cjson.decode(spec).session_policy
  if type(policy) == 'string' then words[#words + 1] = 'p:' .. policy end
  return table.concat(words, ' ')
end

local function replay_one(call, old_id, new_id, policy, actor, by, batch)
  local old = load_job(call, old_id)
  if not old then return { 'unknown' } end
  if old.state ~= 'F' then return { 'alive', old.state } end
  local kept = redis.call('HMGET', old.key, 'replayed_as', 'spec', 'digest')
  if kept[1] == new_id then
    return { 'new', new_id, redis.call('HGET', call.shard .. 'job:' .. new_id, 'state') or 'q' }
  end
  if kept[1] then return { 'replayed', kept[1] } end
  local item = {
    id = new_id, digest = kept[3], tenant = old.tenant, pool = old.pool, class = old.class, spec = kept[2],
    not_before = 0, deadline = 0, idem = '', nonce = '', entry = '', request = '', placed = '',
    ties = ties_again(old, kept[2]), replay_of = old_id
  }
  local answer = take_in(call, item, batch, policy, actor)
  if answer[1] == 'refused' then return answer end
  record(call, old, 'replayed', actor, '{"as":"' .. new_id .. '","by":' .. by .. '}')
  set(old, 'replayed_as', new_id)
  save(old)
  redis.call('ZREM', call.shard .. 'dead:' .. old.tenant, old_id)
  return answer
end

local function replay(keys, argv)
  local shard, actor, policy, bounds, by, count =
    keys[1], argv[1], argv[2], argv[3], argv[4], tonumber(argv[5])
  local call = begin(shard)
  local answers, batch = {}, begin_batch(call, bounds, policy)
  for n = 1, count do
    local base = 6 + (n - 1) * LETTER
    answers[n] = replay_one(call, argv[base], argv[base + 1], policy, actor, by, batch)
  end
  finish_batch(call, batch, policy, actor)
  return done(call, answers, evictions_of(batch), call.retired)
end
