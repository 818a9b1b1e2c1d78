-- What all owners have stored.
-- KEYS owners   ARGV prefix of every key
-- Returns {models, bytes}
local time = redis.call('TIME')
local models, bytes = 0, 0
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local prefix = ARGV[1] .. owner
  local stored, sizes, now = prefix .. ':stored', prefix .. ':sizes', time[1] * 1000
  local tidied, have, size = pcall(kept, stored, sizes, now)
  if not tidied then -- on a full disk nothing can be taken away
    have = redis.call('ZCOUNT', stored, '(' .. now, '+inf')
    size = tonumber(redis.call('HGET', sizes, 'total') or '0')
  end
  if have == 0 then redis.pcall('SREM', KEYS[1], owner) end
  models, bytes = models + have, bytes + size
end
return {models, bytes}
