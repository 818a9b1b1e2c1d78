-- Take a job under a lease, unless it is done or another worker holds it.
-- KEYS record, jobs
-- ARGV job, token, lease ms, max attempts, error given after the last one, done channel
-- Returns {attempt, spec}, or nothing
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'job', 'lease_ms', 'attempt', 'status', 'job_created_ms', 'spec', 'expires_ms')
if not r[1] or r[1] == '' or tonumber(r[7]) <= now then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return nil
end
if r[1] == 'running' and tonumber(r[2]) > now then return nil end
local attempt = tonumber(r[3]) + 1
if attempt > tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], 'job', '', 'job_error', ARGV[5])
  if r[4] ~= 'ready' then redis.call('HSET', KEYS[1], 'status', 'failed') end
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('PUBLISH', ARGV[6], ARGV[1])
  return nil
end
local lease = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'job', 'running', 'token', ARGV[2], 'lease_ms', lease, 'attempt', attempt)
if r[4] == 'queued' then redis.call('HSET', KEYS[1], 'status', 'adapting', 'queue_ms', now - tonumber(r[5])) end
redis.call('ZADD', KEYS[2], lease, ARGV[1])
return {attempt, r[6]}
