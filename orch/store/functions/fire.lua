-- fire: carries out one time of a schedule: sets the next one and admits the job, or says why not, in one step.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] actor string who fires
-- ARGV[2] policy string as in dispatch
-- ARGV[3] bounds string as in admit
-- ARGV[4] tenant string whose schedule
-- ARGV[5] schedule string its id
-- ARGV[6] revision string that the caller read
-- ARGV[7] expected integer the time that the caller found set, 0: fired by hand
-- ARGV[8] fire_at integer the time that is carried out
-- ARGV[9] next_at integer the time to set, 0: none is left
-- ARGV[10] missed integer times before it that are passed over
-- ARGV[11] overlap string skip, queue or replace
-- ARGV[n] item strings as in admit; or code and message of what refuses it already; none: it came too late
-- returns {"ok", incarnation, seq, said, {id of a job that ended…}} | {"same", said} | {"moved"} | {"early"} | {"unknown"}; said: JSON, what came of it
-- or, where the item has an idempotency key that stands for a job: {"duplicate", id} | {"refused", code, message, details}
-- No flag on purpose, as in admit. The time that is set is compared and set in the call that makes the job, whose
-- id follows from tenant, schedule and time: any number of schedulers, late copies and repeats make one job. By hand
-- no time is compared, so the newest CALLS_KEPT fires are remembered: A fires and its answer is lost, B fires, A's
-- call comes again. Done again it would count twice and make A's job the last one, and `replace` would spare B's.
local FIRE_HEAD = 11

local function fate(call, wish, result, more)
  return '{"result":"' .. result .. '","fire_at_ms":' .. wish.fire_at .. ',"at_ms":' .. call.now_text
    .. ',"by_hand":' .. tostring(wish.by_hand) .. ',"missed":' .. wish.missed .. (more or '') .. '}'
end

local function with_job(id)
  return ',"job_id":"' .. id .. '"'
end

-- What keeps the job from being made now, as a fate and what it adds; the first reason counts.
local function hindrance(call, wish, last, batch, policy, actor)
  if not wish.item and not wish.refusal then return 'missed' end
  local answer = wish.refusal or judge(call, wish.item, batch)
  -- The job is there: made by a call whose writes about the schedule were lost, or whose reply was.
  if answer and answer[1] ~= 'refused' then return 'fired', with_job(answer[2]) end
  if last and wish.overlap == 'skip' then return 'skipped', with_job(last.id) end
  answer = answer or find_room(call, wish.item, batch, policy, actor)
  if answer[1] == 'refused' then
    return 'refused', ',"code":"' .. answer[2] .. '","message":' .. quoted(answer[3])
  end
end

-- A key that stands for a job already: which one, or that it is of other content; nothing changes. The nonce is
-- the call's own: the same call again, after it was cut in half, goes on.
local function known_by_key(call, item)
  if not item or item.idem == '' then return nil end
  local id, first = find_first(call, item, { jobs = {}, keys = {} })
  if not first then return nil end
  if first[1] ~= item.digest then return conflict(item, id, first[1]) end
  return (first[2] or '') ~= item.nonce and { 'duplicate', id } or nil
end

local function carry_out(call, wish, last, actor, policy, bounds)
  local batch = begin_batch(call, bounds, policy)
  local result, more = hindrance(call, wish, last, batch, policy, actor)
  if result then return result, more end
  -- Room may have been made at the cost of the very job that is to be replaced.
  last = last and load_job(call, last.id)
  if last and not allowed(last, 'cancel') then last = nil end
  if last and wish.overlap == 'replace' then
    local who = '"by":"schedule:' .. wish.schedule .. '","note":"replaced by ' .. wish.item.id .. '"'
    cancel_job(call, last, who, actor)
  end
  finish_batch(call, batch, policy, actor)
  return 'fired', with_job(wish.item.id)
end

local function wish_of(argv)
  local wish = {
    place = argv[4] .. ':' .. argv[5], schedule = argv[5], by_hand = argv[7] == '0', fire_at = argv[8],
    missed = argv[10], overlap = argv[11], mark = argv[7] .. ' ' .. argv[8] .. ' ' .. argv[9]
  }
  -- Apart, so that neither kind makes the other forgotten. Of its times the last is enough: those before it
  -- are told from it by the time that is set.
  wish.memory, wish.most = 'mark', 1
  if wish.by_hand then wish.memory, wish.most = 'marks', CALLS_KEPT end
  if #argv == FIRE_HEAD + 2 then
    wish.refusal = { 'refused', argv[FIRE_HEAD + 1], argv[FIRE_HEAD + 2] }
  elseif argv[FIRE_HEAD + 1] then
    wish.item = item_at(argv, FIRE_HEAD + 1)
    wish.item.origin = '{"schedule_id":"' .. wish.schedule .. '","fire_at_ms":' .. wish.fire_at .. '}'
    wish.mark = wish.mark .. ' ' .. wish.item.id
  end
  return wish
end

local function fire(keys, argv)
  local shard, actor, policy, bounds = keys[1], argv[1], argv[2], argv[3]
  local revision, expected, fire_at, next_at = argv[6], argv[7], argv[8], tonumber(argv[9])
  local call, wish = begin(shard), wish_of(argv)
  follow(call, policy)
  local key = shard .. 'schedule:' .. wish.place
  local found = redis.call('HMGET', key, 'rev', 'next', 'job', wish.memory)
  if not found[1] then return { 'unknown' } end
  local first = said_to(found[4], wish.mark)
  if first then return { 'same', first } end
  if found[1] ~= revision or not (wish.by_hand or found[2] == expected) then return { 'moved' } end
  if tonumber(expected) > call.now then return { 'early' } end
  local known = known_by_key(call, wish.item)
  if known then return known end
  local last = found[3] and load_job(call, found[3])
  if last and not allowed(last, 'cancel') then last = nil end
  local result, more = carry_out(call, wish, last, actor, policy, bounds)
  local said = fate(call, wish, result, more)
  redis.call('HSET', key, wish.memory, remember(found[4], wish.mark, said, wish.most), 'said', said)
  if result == 'fired' then redis.call('HSET', key, 'job', wish.item.id) end
  redis.call('HINCRBY', key, result, 1)
  if wish.missed ~= '0' then redis.call('HINCRBY', key, 'missed', wish.missed) end
  if not wish.by_hand then
    redis.call('HSET', key, 'last', fire_at)
    set_next(call, wish.place, next_at)
  end
  return done(call, said, call.retired)
end
