-- unready: takes back dispatched jobs whose slot is gone, to the head of their line.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] pool string which pool
-- ARGV[2] most integer at most so many, 1 to 1,000
-- returns {"ok", incarnation, seq, moved} | {"none"}
-- flags: allow-oom
-- Runs before anybody claims them: a burial or a drain made the allowance negative. No attempt is used.
local function unready(keys, argv)
  local shard, pool, most = keys[1], argv[1], tonumber(argv[2])
  local call = begin(shard)
  local excess = math.min(most, -allowance(call, pool))
  if excess <= 0 then return { 'none' } end
  local ready = shard .. 'ready:' .. pool
  local moved = 0
  -- From the youngest on, each to the head: the order among them stays.
  for _, entry in ipairs(redis.call('XREVRANGE', ready, '+', '-', 'COUNT', excess)) do
    redis.call('XDEL', ready, entry[1])
    local id, ticket = string.match(field_of(entry, 'j') or '', '^(.+):(%d+)$')
    local job = id and load_job(call, id)
    if stands_here(job, 'y', pool, ticket) then
      move(call, job, 'unready', 'scheduler', '{}')
      enqueue(call, job, true)
      save(job)
      moved = moved + 1
    end
  end
  -- A tenant that was parked for what is ready no more has its turns again.
  ties.pass_on(call)
  return done(call, moved)
end
