-- timetable: the time that is set for a schedule, in its hash and in `due`. Part of schedule, unschedule and fire.
-- returns nothing
-- The hash is the truth: a timer that is lost is put back from it, one too many is dropped when it is due.
local function timer_of(place)
  return 'cron:' .. place .. ':0'
end

-- 0: no time is left, or it is paused.
local function set_next(call, place, next_at)
  local key = call.shard .. 'schedule:' .. place
  if next_at > 0 then
    redis.call('HSET', key, 'next', int(next_at))
    redis.call('ZADD', call.shard .. 'due', int(next_at), timer_of(place))
    call.timer = math.min(call.timer or next_at, next_at)
  else
    redis.call('HDEL', key, 'next')
    redis.call('ZREM', call.shard .. 'due', timer_of(place))
  end
end
