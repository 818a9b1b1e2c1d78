-- Messages to be sent now, no more to a receiver than its share, and none of an owner who has as many under way as places
-- are left: one owner gets half of all, the next half of the rest. Each message goes to nobody else for a while.
-- KEYS messages
-- ARGV ms until somebody else may have it, limit, share of a receiver, ids of messages that are under way already …
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, share, found = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local asked, owns, late = {}, {}, {} -- by receiver, with what is due; by owner, under way; by owner, must wait
redis.call('ZREM', KEYS[1], '') -- no message; what begins by freeing memory may go on where the store is full

-- Host and port, and owner; of a message that is gone nobody's
local function whose(id)
  local m = redis.call('HMGET', KEYS[1] .. ':' .. id, 'url', 'owner')
  return string.match(m[1] or '', '://([^/?#]+)') or '', m[2] or ''
end

local function add(counts, whom) counts[whom] = (counts[whom] or 0) + 1 end

for i = 4, #ARGV do
  local to, owner = whose(ARGV[i])
  add(asked, to)
  add(owns, owner)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)) do
  if #found >= most then break end
  local to, owner = whose(id)
  local wait, full = tonumber(ARGV[1]), (owns[owner] or 0) >= most - #found
  if not full then add(asked, to) end -- what its owner has no place for takes none of the receiver's
  if not full and asked[to] <= share then
    add(owns, owner)
    table.insert(found, id)
  else
    -- Beyond a receiver's share they come again 10 ms after each other, else 1 ms: others are found behind however many.
    add(late, owner)
    wait = math.max(10 * ((asked[to] or 0) - share), late[owner])
  end
  redis.call('ZADD', KEYS[1], now + wait, id)
end
return found
