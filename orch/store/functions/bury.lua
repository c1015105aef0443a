-- bury: declares a silent instance dead, unless its beat moved, and frees what it held.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] instance string its id
-- ARGV[2] counter integer the beat the caller saw unmoved
-- ARGV[3] age_ms integer how long it was seen unmoved
-- ARGV[4] most integer jobs freed in this call, 1 to 1,000
-- returns {"ok", incarnation, seq, freed, left} | {"alive", counter} | {"unknown"}
-- flags: allow-oom
-- The counter is compared here, in the function: a beat that arrives between the look and the burial
-- saves its runner.
local function lose_one(call, id, claim, instance, age_ms)
  local job = load_job(call, id)
  redis.call('HDEL', call.shard .. 'held:' .. instance, id)
  if not job or job.state ~= 'r' or job.claim ~= claim then return end
  redis.call('HINCRBY', call.shard .. 'meta', 'recovered', 1)
  record(call, job, 'stale_recovered', 'reaper', '{"from":"running","to":"running","worker":"' .. instance
    .. '","epoch":' .. job.epoch .. ',"age_ms":' .. age_ms .. '}')
  local ending = '{"outcome":"lost","reason":"runner_dead","runner":"' .. instance .. '"}'
  move(call, job, 'bury', 'reaper', ending)
  -- The dead claim was not accepted: `past` stays, so that its late result is an orphan.
  drop(job, 'claim')
  set(job, 'taken', claim)
  undecide(call, job, ending)
  save(job)
end

-- A dead reader's unsettled entries go back to the stream's end, in the function that forgets the reader.
local function hand_on(call, stream, group, instance)
  -- A stream that was lost and begun anew has no group, and nothing of it is pending.
  if not has_group(stream, group) then return end
  local pending = redis.call('XPENDING', stream, group, '-', '+', BATCH_MAX, instance)
  for _, item in ipairs(pending) do
    local entry = redis.call('XRANGE', stream, item[1], item[1])[1]
    if entry then redis.call('XADD', stream, '*', unpack(entry[2])) end
    redis.call('XACK', stream, group, item[1])
    redis.call('XDEL', stream, item[1])
  end
  if #pending < BATCH_MAX then redis.call('XGROUP', 'DELCONSUMER', stream, group, instance) end
end

local function forget(call, instance, about)
  local shard = call.shard
  redis.call('HDEL', shard .. 'instances', instance)
  redis.call('HDEL', shard .. 'beats', instance)
  redis.call('HDEL', shard .. 'seen', instance)
  redis.call('HDEL', shard .. 'desired', 'runner:' .. instance .. ':drain', 'runner:' .. instance .. ':drain_by')
  excuse(call, instance)
  if about.role == 'runner' then
    redis.call('HDEL', shard .. 'slots:' .. about.pool, instance)
    redis.call('ZREM', shard .. 'resting:' .. about.pool, instance)
    -- And whoever came back with older data, and is gone.
    redis.call('ZREMRANGEBYSCORE', shard .. 'resting:' .. about.pool, '-inf', int(call.now - REST_MS_MAX))
    redis.call('DEL', shard .. 'inbox:' .. instance, shard .. 'lastcall:' .. instance)
    for _, stream in ipairs({ 'ready:', 'wake:' }) do
      if has_group(shard .. stream .. about.pool, 'runners') then
        redis.call('XGROUP', 'DELCONSUMER', shard .. stream .. about.pool, 'runners', instance)
      end
    end
  elseif ROLE_STREAMS[about.role] then
    hand_on(call, shard .. ROLE_STREAMS[about.role], about.role, instance)
  end
  -- Its commands stay where they are: whoever applies the next one applies those before it first.
  if about.role == 'scheduler' and has_group(shard .. 'control', 'control') then
    redis.call('XGROUP', 'DELCONSUMER', shard .. 'control', 'control', instance)
  end
end

-- A runner's id is that of one life: a copy of its registration that comes later must not make it live again,
-- for its guards would be confirmed while its jobs are elsewhere.
local function entomb(call, instance)
  local buried = call.shard .. 'buried'
  redis.call('ZADD', buried, int(call.now), instance)
  redis.call('ZREMRANGEBYSCORE', buried, '-inf', int(call.now - BURIED_KEPT_MS))
  redis.call('ZREMRANGEBYRANK', buried, 0, -BURIED_MAX - 1)
end

local function bury(keys, argv)
  local shard, instance, counter, age_ms, most = keys[1], argv[1], argv[2], argv[3], tonumber(argv[4])
  local beats = redis.call('HGET', shard .. 'beats', instance)
  local about = redis.call('HGET', shard .. 'instances', instance)
  if not beats and not about then
    -- Frozen in a read when it was buried, it was given entries afterwards and then died.
    local call = begin(shard)
    for role, stream in pairs(ROLE_STREAMS) do hand_on(call, shard .. stream, role, instance) end
    return { 'unknown' }
  end
  if beats and beats ~= counter then return { 'alive', tonumber(beats) } end
  local call = begin(shard)
  -- No beat can succeed from here on, whatever happens to the rest of this call.
  redis.call('HDEL', shard .. 'beats', instance)
  local known = cjson.decode(about or '{}')
  -- Nor may dispatch count on its slots while what it held is freed in several calls.
  if known.role == 'runner' then redis.call('HDEL', shard .. 'slots:' .. known.pool, instance) end
  if known.role == 'runner' or not about then entomb(call, instance) end
  local held = redis.call('HGETALL', shard .. 'held:' .. instance)
  local freed = 0
  for i = 1, #held, 2 do
    if freed == most then break end
    lose_one(call, held[i], held[i + 1], instance, age_ms)
    freed = freed + 1
  end
  local left = #held / 2 - freed
  if left == 0 then
    -- Counted here and not by the caller: a reaper buries, and a supervisor too, which nobody scrapes.
    redis.call('HINCRBY', shard .. 'meta', 'burials', 1)
    forget(call, instance, known)
  end
  return done(call, freed, left)
end
