-- Write which meta-model was chosen and, where it reads another than the stored one, its support set: fenced by its
-- token, so that a worker that lost its lease changes nothing.
-- KEYS record, support, sizes   ARGV token, spec, support bytes or '', model id
-- Returns 1 or 0
local r = redis.call('HMGET', KEYS[1], 'token', 'job')
if r[1] ~= ARGV[1] or r[2] ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'spec', ARGV[2])
if ARGV[3] == '' then return 1 end
local more = #ARGV[3] - redis.call('STRLEN', KEYS[2])
redis.call('SET', KEYS[2], ARGV[3], 'XX', 'KEEPTTL')
if more ~= 0 and redis.call('HEXISTS', KEYS[3], ARGV[4]) == 1 then
  redis.call('HINCRBY', KEYS[3], ARGV[4], more)
  redis.call('HINCRBY', KEYS[3], 'total', more)
end
return 1
