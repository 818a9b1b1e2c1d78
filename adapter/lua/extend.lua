-- Keep a lease alive; refused when another attempt has taken over or the model is gone.
-- KEYS record, jobs   ARGV job, token, lease ms
-- Returns 1 or 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] or redis.call('HGET', KEYS[1], 'job') ~= 'running' then return 0 end
local lease = now + tonumber(ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1]) -- what begins by freeing memory may go on where the store is full
redis.call('HSET', KEYS[1], 'lease_ms', lease)
redis.call('ZADD', KEYS[2], lease, ARGV[1])
return 1
