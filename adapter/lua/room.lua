-- Whether there is memory for another model, and somebody to adapt it.
-- KEYS workers   ARGV prefix of a worker's key, ms that it counts for
-- Returns {workers that live, bytes of memory in use, their limit or 0}
local workers = 0
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  -- A killed one leaves its name; one that lives after all comes back with its next beat.
  -- A key that counts for longer than any is written for is of before the clock went back.
  -- Where the disk is full no name can be taken away; it counts for nothing, so may stay.
  local left = redis.call('PTTL', ARGV[1] .. name)
  if left > 0 and left <= tonumber(ARGV[2]) then workers = workers + 1 else redis.pcall('SREM', KEYS[1], name) end
end
local memory = redis.call('INFO', 'memory')
local function bytes(field) return tonumber(string.match(memory, '\n' .. field .. ':(%d+)')) end
return {workers, bytes('used_memory'), bytes('maxmemory')}
