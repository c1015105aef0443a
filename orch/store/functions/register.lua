-- register: makes an actor instance known, and a runner's slots available.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] instance string its id, new for every life of a runner: one that was buried stays so
-- ARGV[2] role string admission, scheduler, runner, reaper, fallback, notifier, gateway or supervisor
-- ARGV[3] about string JSON shown to operators: host, pid, pool, slots, lease_ms, version
-- ARGV[4] pool string the pool a runner serves, else empty
-- ARGV[5] slots integer how many jobs a runner runs at once; 0 drains it
-- ARGV[6] again integer 1 for an instance that was registered before: never makes one known that was buried
-- returns {"ok", incarnation, seq} | {"runner_over"}
-- flags: allow-oom
local function has_group(stream, group)
  if redis.call('EXISTS', stream) == 0 then return false end
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    for i = 1, #info, 2 do
      if info[i] == 'name' and info[i + 1] == group then return true end
    end
  end
  return false
end

local function ensure_group(stream, group)
  if not has_group(stream, group) then redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM') end
end

local ROLE_STREAMS = { admission = 'requests', fallback = 'outcomes', scheduler = 'alarm', notifier = 'notices' }

local function register(keys, argv)
  local shard, instance, role, about, pool, slots, again =
    keys[1], argv[1], argv[2], argv[3], argv[4], tonumber(argv[5]), argv[6]
  if again == '1' and redis.call('HEXISTS', shard .. 'beats', instance) == 0 then return { 'runner_over' } end
  if role == 'runner' and redis.call('ZSCORE', shard .. 'buried', instance) then return { 'runner_over' } end
  local call = begin(shard)
  redis.call('HSET', shard .. 'instances', instance, about)
  -- Not from 1 on: a reaper that saw the instance in an earlier life, buried or rolled back since, must not
  -- meet the very number again that it saw unmoved.
  redis.call('HSETNX', shard .. 'beats', instance, int(call.now))
  redis.call('HSET', shard .. 'seen', instance, int(call.now))
  if ROLE_STREAMS[role] then ensure_group(shard .. ROLE_STREAMS[role], role) end
  if role == 'scheduler' then ensure_group(shard .. 'control', 'control') end
  if role == 'runner' then
    -- One that was asked what it runs has not answered by registering again.
    local was = redis.call('HGET', shard .. 'slots:' .. pool, instance)
    redis.call('HSET', shard .. 'slots:' .. pool, instance, (was and is_recalled(was) and '?' or '') .. slots)
    redis.call('SADD', shard .. 'pools', pool)
    ensure_group(shard .. 'ready:' .. pool, 'runners')
    ensure_group(shard .. 'wake:' .. pool, 'runners')
    ensure_group(shard .. 'inbox:' .. instance, 'runners')
  end
  return done(call)
end
