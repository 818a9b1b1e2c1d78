-- Change what all versions of a model share.
-- KEYS first record, its support, events, digest, stored, webhooks
-- ARGV id, revision or '', ttl ms or '', tombstone ms, call, field, value, field, value …
-- Returns {'patched' | 'stale' | 'gone'}. Sent again under the same call, because the answer was lost, it changes nothing
-- more.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('HMGET', KEYS[1], 'expires_ms', 'revision', 'latest', 'call')
if not head[1] or tonumber(head[1]) <= now then return {'gone'} end
if head[4] == ARGV[5] then return {'patched'} end
local revision = head[2] or '1'
if ARGV[2] ~= '' and ARGV[2] ~= revision then return {'stale'} end

for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'revision', tonumber(revision) + 1, 'call', ARGV[5])
if ARGV[3] ~= '' then
  local ttl = tonumber(ARGV[3])
  for version = 1, tonumber(head[3] or '1') do
    local suffix = version == 1 and '' or '.' .. version
    redis.call('HSET', KEYS[1] .. suffix, 'expires_ms', now + ttl)
    redis.call('PEXPIRE', KEYS[1] .. suffix, ttl + tonumber(ARGV[4]))
    redis.call('PEXPIRE', KEYS[2] .. suffix, ttl)
  end
  redis.call('PEXPIRE', KEYS[3], ttl)
  redis.call('PEXPIRE', KEYS[6], ttl)
  redis.call('ZADD', KEYS[5], 'XX', now + ttl, ARGV[1])
  if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('PEXPIRE', KEYS[4], ttl) end
end
return {'patched'}
