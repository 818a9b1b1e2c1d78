-- Write a new version of a model: its record, support set and job, unless the model changed meanwhile.
-- KEYS first record, new record, new support, jobs, events, digest of the first version, usage, stored, sizes,
--      webhooks, queue of messages, idempotency
-- ARGV id, job, version, revision, spec, support bytes, grace ms, tombstone ms, status (queued | ready), quality,
--      key, quota, fingerprint, idempotency ms, call, version that is measured for this one or '',
--      jobs that may be open
-- Returns {'created' | 'stale' | 'gone'}, {'full', jobs that are open} or {'quota', which, ms to wait}. Sent again under the same call, because the
-- answer was lost, it changes nothing more.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('HMGET', KEYS[1], 'expires_ms', 'revision', 'call')
if not head[1] or tonumber(head[1]) <= now then return {'gone'} end
if head[3] == ARGV[15] then return {'created'} end
if (head[2] or '1') ~= ARGV[4] then return {'stale'} end
local left = tonumber(head[1]) - now
local adaptations = ARGV[9] == 'queued' and 1 or 0
local jobs = redis.call('ZCARD', KEYS[4])
if adaptations > 0 and jobs >= tonumber(ARGV[17]) then return {'full', jobs} end
local refused = over_quota(ARGV[12], KEYS[7], KEYS[8], KEYS[9], now, adaptations, 0, #ARGV[6])
if refused then return refused end

redis.call('HSET', KEYS[2], 'id', ARGV[1], 'version', ARGV[3], 'spec', ARGV[5], 'status', ARGV[9], 'created_ms', now,
  'expires_ms', head[1], 'job', '', 'attempt', 0, 'quality', ARGV[10], 'key', ARGV[11],
  'quality_of', ARGV[16])
if ARGV[9] == 'queued' then
  redis.call('HSET', KEYS[2], 'job', 'queued', 'job_created_ms', now)
  redis.call('ZADD', KEYS[4], now + tonumber(ARGV[7]), ARGV[2])
  count(KEYS[7], 'adaptations', 1)
else
  redis.call('HSET', KEYS[2], 'queue_ms', 0, 'adapt_ms', 0, 'total_ms', 0)
  announce_all(KEYS[10], KEYS[11], now, ARGV[2], ARGV[3], 'ready', '')
end
redis.call('PEXPIRE', KEYS[2], left + tonumber(ARGV[8]))
redis.call('SET', KEYS[3], ARGV[6], 'PX', left)
keep(KEYS[8], KEYS[9], ARGV[1], head[1], #ARGV[6])
redis.call('HSET', KEYS[1], 'latest', ARGV[3], 'revision', tonumber(ARGV[4]) + 1, 'call', ARGV[15])
-- The same content again is a model of its own from now on: this one answers for other content.
if redis.call('GET', KEYS[6]) == ARGV[1] then redis.call('DEL', KEYS[6]) end
redis.call('XADD', KEYS[5], 'NOMKSTREAM', 'MAXLEN', '~', 1000, '*', 'event', 'status', 'version', ARGV[3],
  'status', ARGV[9])
if ARGV[13] ~= '' then remember(KEYS[12], ARGV[13], 'version', ARGV[3], ARGV[14]) end
return {'created'}
