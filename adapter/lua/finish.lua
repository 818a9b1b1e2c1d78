-- End a job: fenced by its token, so that a worker that lost its lease changes nothing.
-- KEYS record, jobs   ARGV job, token, outcome (ready | failed | retry), error, adapt ms, done channel
-- Returns 1 or 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'token', 'job', 'status', 'created_ms', 'job_created_ms', 'lease_ms')
if r[1] ~= ARGV[2] or r[2] ~= 'running' then return 0 end
if ARGV[3] == 'retry' then
  redis.call('HSET', KEYS[1], 'job', 'queued', 'token', '')
  redis.call('ZADD', KEYS[2], now, ARGV[1])
  return 1
end
redis.call('HSET', KEYS[1], 'job', '', 'token', '', 'job_error', ARGV[4])
redis.call('ZREM', KEYS[2], ARGV[1])
if r[3] ~= 'ready' then
  redis.call('HSET', KEYS[1], 'status', ARGV[3], 'adapt_ms', ARGV[5], 'total_ms', now - tonumber(r[4]))
end
redis.call('PUBLISH', ARGV[6], ARGV[1])
return 1
