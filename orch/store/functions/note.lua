-- note: appends evidence of a running attempt to its ledger, fenced by the claim.
-- KEYS[1] shard string the `{orch:N}:` prefix of every key
-- ARGV[1] job string id
-- ARGV[2] claim string the whole claim
-- ARGV[3] number integer the note's number in this attempt from 1; a repeated number changes nothing
-- ARGV[4] progress string JSON that replaces the durable progress, or empty
-- ARGV[5] consume integer 1 forgets the pending answer
-- ARGV[6] kind string event type of the catalogue
-- ARGV[7] payload string JSON
-- returns {"ok", incarnation, seq, wish} | {"noted", wish} | {"over"} | {"ledger_full"}
-- flags: allow-oom
local function note(keys, argv)
  local shard, id, claim, number, progress, consume, kind, payload =
    keys[1], argv[1], argv[2], tonumber(argv[3]), argv[4], argv[5], argv[6], argv[7]
  local call = begin(shard)
  local job = load_job(call, id)
  if judge_claim(job, claim) ~= 'ok' then return { 'over' } end
  if number <= tonumber(job.notes or '0') then return { 'noted', job.wish or '' } end
  if not ledger_has_room(job, 1) then return { 'ledger_full' } end
  record(call, job, kind, 'runner', payload)
  set(job, 'notes', int(number))
  if progress ~= '' then set(job, 'progress', progress) end
  if consume == '1' then drop(job, 'answer') end
  save(job)
  return done(call, job.wish or '')
end
