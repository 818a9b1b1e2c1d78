-- Whether there is room for another job, and somebody to do it.
-- KEYS jobs, workers   ARGV prefix of a worker's key
-- Returns {open jobs, workers that live, bytes of memory in use, their limit or 0}
local workers = 0
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  -- A killed one leaves its name; one that lives after all comes back with its next beat.
  if redis.call('EXISTS', ARGV[1] .. name) == 1 then workers = workers + 1 else redis.call('SREM', KEYS[2], name) end
end
local memory = redis.call('INFO', 'memory')
local function bytes(field) return tonumber(string.match(memory, '\n' .. field .. ':(%d+)')) end
return {redis.call('ZCARD', KEYS[1]), workers, bytes('used_memory'), bytes('maxmemory')}
