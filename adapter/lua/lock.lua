-- Take a lock for a time, unless somebody has it.
-- KEYS lock   ARGV ms
-- Returns 1 or 0
local left = redis.call('PTTL', KEYS[1])
if left > 0 and left <= tonumber(ARGV[1]) then return 0 end -- longer than anybody takes it for: the clock went back
redis.call('DEL', KEYS[1]) -- what begins by freeing memory may go on where the store is full
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
