-- Open a job that re-adapts a ready model whose weights were evicted; one job however many ask.
-- KEYS record, jobs, tally   ARGV job, grace ms
-- Returns 1 when this call opened it, else 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'status', 'job')
if r[1] ~= 'ready' or (r[2] and r[2] ~= '') then return 0 end
redis.call('HSET', KEYS[1], 'job', 'queued', 'job_created_ms', now, 'attempt', 0, 'job_error', '')
redis.call('HINCRBY', KEYS[3], 'restored', 1)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[1])
return 1
