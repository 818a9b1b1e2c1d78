-- Write a model record, its support set and its job in one step, unless the same one exists.
-- KEYS record, support, models, digest, idempotency, jobs, events, usage, stored, sizes,
--      webhooks of the new model, queue of messages, owners, queue of nudges
-- ARGV id, job, spec, support bytes, ttl ms, tombstone ms, grace ms, listed, fingerprint, idempotency ms,
--      record prefix, name, key, quota, webhook url, webhook secret, nudge, whether there is memory,
--      jobs that may be open
-- Returns {'created' | 'existing' | 'conflict' | 'webhooks' | 'refused', id}, {'full', jobs that are open} or
-- {'quota', which, ms to wait}; `refused`: it is not there and there is no memory; `webhooks`: its model tells as many urls as it may, and nothing was changed
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[5])
local prefix = ARGV[11]
local most_webhooks = 10

local function lives(id)
  local found = redis.call('HMGET', prefix .. id, 'status', 'expires_ms')
  return found[1] and found[1] ~= 'failed' and found[1] ~= 'canceled' and tonumber(found[2]) > now
end

if ARGV[9] ~= '' then
  local prior = redis.call('HMGET', KEYS[5], 'fingerprint', 'id')
  if prior[2] and lives(prior[2]) then
    if prior[1] ~= ARGV[9] then return {'conflict', prior[2]} end
    return {'existing', prior[2]}
  end
end

if ARGV[8] == '1' then
  local twin = redis.call('GET', KEYS[4])
  if twin and lives(twin) then
    redis.call('DEL', KEYS[1]) -- is not there; what begins by freeing memory may go on where the store is full
    local hooks = string.gsub(prefix, ':model:$', ':webhooks:') .. twin
    if ARGV[15] ~= '' and redis.call('HEXISTS', hooks, ARGV[15]) == 0
      and redis.call('HLEN', hooks) >= most_webhooks then return {'webhooks', twin} end
    -- The same content again keeps its model, under the later name and for as long as the later request asks: a change,
    -- as a patch would be, where either is another than before.
    local head = redis.call('HMGET', prefix .. twin, 'expires_ms', 'name', 'revision')
    local longer = tonumber(head[1]) < now + ttl
    local renamed = ARGV[12] ~= '' and ARGV[12] ~= head[2]
    if longer or renamed then redis.call('HSET', prefix .. twin, 'revision', tonumber(head[3] or '1') + 1) end
    if longer then
      redis.call('HSET', prefix .. twin, 'expires_ms', now + ttl)
      redis.call('PEXPIRE', prefix .. twin, ttl + tonumber(ARGV[6]))
      redis.call('PEXPIRE', string.gsub(prefix, ':model:$', ':support:') .. twin, ttl)
      redis.call('PEXPIRE', string.gsub(prefix, ':model:$', ':events:') .. twin, ttl)
      redis.call('PEXPIRE', hooks, ttl)
      redis.call('PEXPIRE', KEYS[4], ttl)
      redis.call('ZADD', KEYS[9], 'XX', now + ttl, twin)
    end
    if renamed then redis.call('HSET', prefix .. twin, 'name', ARGV[12]) end
    if ARGV[15] ~= '' then
      redis.call('HSET', hooks, ARGV[15], ARGV[16])
      redis.call('PEXPIREAT', hooks, redis.call('HGET', prefix .. twin, 'expires_ms'))
      if redis.call('HGET', prefix .. twin, 'status') == 'ready' then
        -- Once, however often it is asked for, until that message is delivered or given up.
        local asked = KEYS[12] .. ':asked:' .. redis.sha1hex(prefix .. twin .. ' ' .. ARGV[15])
        local message = redis.call('GET', asked)
        if not message or redis.call('EXISTS', KEYS[12] .. ':' .. message) == 0 then
          message = announce(KEYS[12], ARGV[15], ARGV[16], now, string.match(ARGV[2], '^[^/]+'), twin, 1, 'ready', '')
          redis.call('SET', asked, message, 'EX', 86400)
        end
      end
    end
    if ARGV[9] ~= '' then remember(KEYS[5], ARGV[9], 'id', twin, ARGV[10]) end
    return {'existing', twin}
  end
end

if ARGV[18] == '0' then return {'refused', ''} end
local jobs = redis.call('ZCARD', KEYS[6])
if jobs >= tonumber(ARGV[19]) then return {'full', jobs} end
local bytes = ARGV[8] == '1' and #ARGV[4] or 0
local refused = over_quota(ARGV[14], KEYS[8], KEYS[9], KEYS[10], now, 1, 1, bytes)
if refused then return refused end

redis.call('HSET', KEYS[1], 'id', ARGV[1], 'spec', ARGV[3], 'status', 'queued', 'created_ms', now,
  'expires_ms', now + ttl, 'job', 'queued', 'job_created_ms', now, 'attempt', 0, 'name', ARGV[12], 'key', ARGV[13])
count(KEYS[8], 'adaptations', 1)
redis.call('PEXPIRE', KEYS[1], ttl + tonumber(ARGV[6]))
redis.call('SET', KEYS[2], ARGV[4], 'PX', ttl)
redis.call('ZADD', KEYS[6], now + tonumber(ARGV[7]), ARGV[2])
redis.call('XADD', KEYS[7], '*', 'event', 'status', 'version', 1, 'status', 'queued')
redis.call('PEXPIRE', KEYS[7], ttl)
if ARGV[15] ~= '' then
  redis.call('HSET', KEYS[11], ARGV[15], ARGV[16])
  redis.call('PEXPIRE', KEYS[11], ttl)
end
if ARGV[8] == '1' then
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('SET', KEYS[4], ARGV[1], 'PX', ttl)
  redis.call('SADD', KEYS[13], string.match(ARGV[2], '^[^/]+'))
  keep(KEYS[9], KEYS[10], ARGV[1], now + ttl, bytes)
end
if ARGV[9] ~= '' then remember(KEYS[5], ARGV[9], 'id', ARGV[1], ARGV[10]) end
if ARGV[17] ~= '' then redis.call('LPUSH', KEYS[14], ARGV[17]) end
return {'created', ARGV[1]}
