-- Write what became of an attempt to deliver a message: forget it, or put it off. One that is gone stays gone.
-- KEYS queue of messages, message, events
-- ARGV message id, its attempts before this one, ms until the next or '', most events, field, value, field, value …
-- Returns 1, or 0 where another attempt, made at the same time, has said so already
local m = redis.call('HMGET', KEYS[2], 'attempts', 'owner', 'model')
local attempts = m[1]
if not attempts then return 0 end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
  redis.call('SREM', waiting(m[2], m[3]), ARGV[1])
else
  if attempts ~= ARGV[2] then return 0 end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('HSET', KEYS[2], 'attempts', attempts + 1)
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
end
redis.call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
return 1
