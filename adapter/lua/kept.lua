-- What all owners have stored.
-- KEYS owners   ARGV prefix of every key
-- Returns {models, bytes}
local time = redis.call('TIME')
local models, bytes = 0, 0
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local prefix = ARGV[1] .. owner
  local have, size = kept(prefix .. ':stored', prefix .. ':sizes', time[1] * 1000)
  if have == 0 then redis.call('SREM', KEYS[1], owner) end
  models, bytes = models + have, bytes + size
end
return {models, bytes}
