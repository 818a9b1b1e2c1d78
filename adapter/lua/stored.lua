-- What an owner has stored.
-- KEYS stored, sizes
-- Returns {models, bytes}
local time = redis.call('TIME')
return {kept(KEYS[1], KEYS[2], time[1] * 1000)}
