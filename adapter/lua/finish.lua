-- End a job: fenced by its token, so that a worker that lost its lease changes nothing.
-- KEYS record, jobs, events, usage, webhooks, queue of messages, tally
-- ARGV job, token, outcome (served | ready | failed | retry | postponed), error, adapt ms, done channel, quality,
--      field of the tally for so many ms, and of each inner step not told yet its number and support loss
-- `served` makes the model ready and leaves the job to its worker; `postponed` is no attempt.
-- Returns 1 or 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'token', 'job', 'status', 'created_ms', 'version')
if r[1] ~= ARGV[2] or r[2] ~= 'running' then return 0 end
-- What begins by freeing memory may go on where the store is full: a job can end, or be given back, there too.
if ARGV[3] ~= 'served' then redis.call('ZREM', KEYS[2], ARGV[1]) end
for i = 9, #ARGV, 2 do
  redis.call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', 1000, '*', 'event', 'step', 'version', r[5] or '1',
    'step', ARGV[i], 'support_loss', ARGV[i + 1])
end
local postponed = ARGV[3] == 'postponed'
if ARGV[3] == 'retry' or postponed then
  redis.call('HSET', KEYS[1], 'job', 'queued', 'token', '')
  if postponed then redis.call('HINCRBY', KEYS[1], 'attempt', -1) end
  redis.call('ZADD', KEYS[2], now + (postponed and 1000 or 0), ARGV[1])
  return 1
end
if ARGV[3] ~= 'served' then
  redis.call('HSET', KEYS[1], 'job', '', 'token', '', 'job_error', ARGV[4])
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'quality', ARGV[7]) end
if r[3] ~= 'ready' then
  local status = ARGV[3] == 'failed' and 'failed' or 'ready'
  count(KEYS[4], 'adapt_ms', ARGV[5])
  redis.call('HINCRBY', KEYS[7], status, 1)
  if status == 'ready' then
    redis.call('HINCRBYFLOAT', KEYS[7], 'adapt_ms', ARGV[5])
    redis.call('HINCRBY', KEYS[7], ARGV[8], 1)
  end
  redis.call('HSET', KEYS[1], 'status', status, 'adapt_ms', ARGV[5], 'total_ms', now - tonumber(r[4]))
  redis.call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', 1000, '*', 'event', 'status', 'version', r[5] or '1',
    'status', status)
  announce_all(KEYS[5], KEYS[6], now, ARGV[1], r[5] or '1', status, ARGV[4])
end
-- Whoever waits for a new model need not ask for the record of its first version, which is all there is of it.
local record = r[5] and '' or '\n' .. cjson.encode(redis.call('HGETALL', KEYS[1]))
redis.call('PUBLISH', ARGV[6], ARGV[1] .. record)
return 1
