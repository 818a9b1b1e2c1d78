-- Messages to be sent now, no more to a receiver than its share; each goes to nobody else for a while.
-- KEYS messages
-- ARGV ms until somebody else may have it, limit, share of a receiver, ids of messages that are under way already …
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, share, holds, found = tonumber(ARGV[2]), tonumber(ARGV[3]), {}, {}
redis.call('ZREM', KEYS[1], '') -- no message; what begins by freeing memory may go on where the store is full

-- Host and port; of a message that is gone nobody's
local function receiver(id)
  return string.match(redis.call('HGET', KEYS[1] .. ':' .. id, 'url') or '', '://([^/?#]+)') or ''
end

for i = 4, #ARGV do
  local to = receiver(ARGV[i])
  holds[to] = (holds[to] or 0) + 1
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)) do
  if #found >= most then break end
  local to = receiver(id)
  holds[to] = (holds[to] or 0) + 1
  local beyond = holds[to] - share
  if beyond <= 0 then table.insert(found, id) end
  -- Those beyond their receiver's share come again 10 ms after each other: others are found behind however many.
  redis.call('ZADD', KEYS[1], now + (beyond > 0 and 10 * beyond or ARGV[1]), id)
end
return found
