-- Jobs that nobody has started or whose lease ran out; each is handed out once per pause.
-- KEYS jobs, queue of nudges
-- ARGV pause ms, limit, how many ms ahead one can be looked at again
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local soon, most = now + tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREM', KEYS[1], '') -- no job; what begins by freeing memory may go on where the store is full
-- What lies further ahead is of before the clock went back.
local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], now + tonumber(ARGV[3]), '+inf', 'LIMIT', 0, most)
for _, one in ipairs(ahead) do redis.call('ZADD', KEYS[1], now, one) end
-- Where nobody takes the nudges, more of them would fill the store: there is one for each job that waits, no more.
most = math.min(most, redis.call('ZCOUNT', KEYS[1], '-inf', soon) - redis.call('LLEN', KEYS[2]))
if most < 1 then return {} end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, most)
for _, one in ipairs(due) do redis.call('ZADD', KEYS[1], soon, one) end
return due
