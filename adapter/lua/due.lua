-- Jobs that nobody has started or whose lease ran out; each is handed out once per pause.
-- KEYS jobs   ARGV pause ms, limit
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, job in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), job) end
return due
