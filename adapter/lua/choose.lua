-- Write which meta-model was chosen: fenced by its token, so that a worker that lost its lease changes nothing.
-- KEYS record   ARGV token, spec
-- Returns 1 or 0
local r = redis.call('HMGET', KEYS[1], 'token', 'job')
if r[1] ~= ARGV[1] or r[2] ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'spec', ARGV[2])
return 1
