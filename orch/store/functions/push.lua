-- push: puts a command that a door has judged into the stream, under an id that was not used before.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] id string the command's id
-- ARGV[2] command string its name
-- ARGV[3] target string whom it is about
-- ARGV[4] args string JSON
-- ARGV[5] if_revision string the revision that the desired state must have, or empty
-- ARGV[6] by string who
-- ARGV[7] token string the caller's own: the same call again is answered as at first
-- returns {"ok", incarnation, seq} | {"same"} | {"duplicate"} | {"full", waiting}
-- flags: allow-oom
local function push(keys, argv)
  local shard, id, command, target, args, if_revision, by, token =
    keys[1], argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]
  local key = shard .. 'command:' .. id
  local known = redis.call('HMGET', key, 'status', 'token')
  if known[1] then return { known[2] == token and 'same' or 'duplicate' } end
  local waiting = redis.call('XLEN', shard .. 'control')
  if waiting >= COMMANDS_MAX then return { 'full', waiting } end
  local call = begin(shard)
  redis.call('HSET', key, 'command', command, 'target', target, 'args', args, 'by', by, 'status', 'pushed',
    'token', token, 'at', call.now_text)
  redis.call('PEXPIRE', key, COMMAND_TTL_MS)
  redis.call('ZADD', shard .. 'commands', call.now_text, id)
  local fields = { 'v', '1', 'id', id, 'command', command, 'target', target, 'args', args, 'by', by, 'token', token }
  if if_revision ~= '' then
    fields[#fields + 1] = 'if_revision'
    fields[#fields + 1] = if_revision
  end
  redis.call('XADD', shard .. 'control', '*', unpack(fields))
  return done(call)
end
