-- Forget a model with all its versions and what its webhooks were not told yet.
-- KEYS first record, its support, models, digest, jobs, events, stored, sizes, webhooks, queue of messages,
--      call
-- ARGV id, job, done channel, revision or ''
-- Returns 1 when there was one, -1 where it is at another revision. Sent again as the same call, because the answer was
-- lost, it says the same.
if redis.call('EXISTS', KEYS[11]) == 1 then return 1 end
local revision = redis.call('HGET', KEYS[1], 'revision') or '1'
if ARGV[4] ~= '' and redis.call('EXISTS', KEYS[1]) == 1 and revision ~= ARGV[4] then return -1 end
local latest = tonumber(redis.call('HGET', KEYS[1], 'latest') or '1')
local existed = redis.call('DEL', KEYS[1])
if existed == 1 then redis.call('SET', KEYS[11], '', 'EX', 60) end
for version = 1, latest do
  local suffix = version == 1 and '' or '.' .. version
  redis.call('DEL', KEYS[1] .. suffix, KEYS[2] .. suffix)
  redis.call('ZREM', KEYS[5], ARGV[2] .. suffix)
  redis.call('PUBLISH', ARGV[3], ARGV[2] .. suffix)
end
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
redis.call('DEL', KEYS[6], KEYS[9])
drop(KEYS[7], KEYS[8], ARGV[1])
local untold = waiting(string.match(ARGV[2], '^[^/]+'), ARGV[1])
for _, id in ipairs(redis.call('SMEMBERS', untold)) do
  redis.call('ZREM', KEYS[10], id)
  redis.call('DEL', KEYS[10] .. ':' .. id)
end
redis.call('DEL', untold)
return existed
