-- overflow: refuses the youngest raw requests beyond the bound of their stream; none is trimmed unread.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] most integer at most so many, 1 to 1,000
-- returns {"ok", incarnation, seq, refused} | {"none"}
-- flags: allow-oom
-- Whoever read such an entry meanwhile finds it settled (request_waits), and makes nothing of it.
local function is_id(text)
  return #text <= ID_CHARS_MAX and string.match(text, '^%w[%w._-]*$') and not string.find(text, '..', 1, true)
end

local function overflow(keys, argv)
  local shard, most = keys[1], tonumber(argv[1])
  local requests = shard .. 'requests'
  local backlog = redis.call('XLEN', requests)
  local excess = math.min(most, backlog - REQUESTS_MAX)
  if excess <= 0 then return { 'none' } end
  local ids = {}
  for _, entry in ipairs(redis.call('XREVRANGE', requests, '+', '-', 'COUNT', excess)) do
    local request = field_of(entry, 'request_id') or ''
    if is_id(request) then
      local details = '{"backlog":' .. backlog .. ',"backlog_max":' .. REQUESTS_MAX .. '}'
      local refused = { 'refused', 'QUEUE_FULL', 'too many raw requests wait', details, RETRY_AFTER_MS_START, 'requests-backlog' }
      redis.call('SET', shard .. 'answer:' .. request, answer_body(refused, request), 'PX', ANSWER_TTL_MS)
    end
    ids[#ids + 1] = entry[1]
  end
  redis.call('XACK', requests, 'admission', unpack(ids))
  redis.call('XDEL', requests, unpack(ids))
  return done(begin(shard), #ids)
end
