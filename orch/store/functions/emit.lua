-- emit: appends output of running attempts, in order and bounded; the oldest pieces give way.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] count integer jobs, 1 to 1,000; then per job: id, claim, first, pieces and 2 arguments a piece
-- ARGV[n] job strings id, claim, first piece's number, how many; then stream and text of each
-- returns {"ok", incarnation, seq, {"ok" | "over" …}}
-- flags: allow-oom
-- Pieces carry their numbers, so a repeated call adds nothing twice.
local function emit_one(call, argv, base, id, claim, first, pieces)
  local job = load_job(call, id)
  if judge_claim(job, claim) ~= 'ok' then return 'over' end
  local out, have = call.shard .. 'out:' .. id, tonumber(job.outs or '0')
  for n = 0, pieces - 1 do
    local i = first + n
    if i > have then
      redis.call('XADD', out, 'MAXLEN', '~', OUT_MAX, int(i) .. '-1', argv[base + 2 * n], argv[base + 2 * n + 1])
      have = i
    end
  end
  redis.call('HSET', job.key, 'outs', int(have))
  if not call.touched[id] then touch(call, id, job.seq) end
  return 'ok'
end

local function emit(keys, argv)
  local shard, count = keys[1], tonumber(argv[1])
  local call = begin(shard)
  local verdicts, base = {}, 2
  for n = 1, count do
    local pieces = tonumber(argv[base + 3])
    verdicts[n] = emit_one(call, argv, base + 4, argv[base], argv[base + 1], tonumber(argv[base + 2]), pieces)
    base = base + 4 + 2 * pieces
  end
  return done(call, verdicts)
end
