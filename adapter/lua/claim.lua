-- Take a job under a lease, unless it is done or another worker holds it.
-- KEYS record, jobs, events, webhooks, queue of messages, support set, tally
-- ARGV job, token, lease ms, max attempts, error given after the last one, done channel
-- Returns {attempt, spec, support set, expires ms, quality, key, ms since the job was opened}, or nothing. Sent again with
-- its token, because the answer was lost, it is the same claim.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'job', 'lease_ms', 'attempt', 'status', 'job_created_ms', 'spec', 'expires_ms',
  'version', 'quality', 'key', 'token')
local open = r[1] and r[1] ~= '' and tonumber(r[7]) > now
local left = open and r[1] == 'running' and tonumber(r[2]) - now or 0
local held = left > 0 and left <= 10 * ARGV[3] -- a lease far longer than any is of before the clock went back
if held and r[11] ~= ARGV[2] then return nil end
local support = open and redis.call('GET', KEYS[6])
if not support then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return nil
end
local function taken(attempt)
  return {attempt, r[6], support, r[7], r[9] or '', r[10] or 'local', now - tonumber(r[5])}
end
if held then return taken(tonumber(r[3])) end

redis.call('ZREM', KEYS[2], ARGV[1]) -- what begins by freeing memory may go on where the store is full
local function tell(status)
  redis.call('HSET', KEYS[1], 'status', status)
  redis.call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', 1000, '*', 'event', 'status', 'version', r[8] or '1',
    'status', status)
end

local attempt = tonumber(r[3]) + 1
if attempt > tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], 'job', '', 'job_error', ARGV[5])
  if r[4] ~= 'ready' then
    tell('failed')
    redis.call('HINCRBY', KEYS[7], 'failed', 1)
    announce_all(KEYS[4], KEYS[5], now, ARGV[1], r[8] or '1', 'failed', ARGV[5])
  end
  redis.call('PUBLISH', ARGV[6], ARGV[1])
  return nil
end
local lease = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'job', 'running', 'token', ARGV[2], 'lease_ms', lease, 'attempt', attempt)
if r[4] == 'queued' then
  redis.call('HSET', KEYS[1], 'queue_ms', now - tonumber(r[5]))
  tell('adapting')
end
redis.call('ZADD', KEYS[2], lease, ARGV[1])
return taken(attempt)
