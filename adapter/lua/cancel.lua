-- Stop an adaptation that has not ended: its worker, if any, loses the lease.
-- KEYS record, jobs, events, tally, idempotency   ARGV job, done channel, fingerprint or '', idempotency ms
-- Returns the status afterwards, or nothing where there is no record
local r = redis.call('HMGET', KEYS[1], 'status', 'version')
if r[1] ~= 'queued' and r[1] ~= 'adapting' then return r[1] end
redis.call('HSET', KEYS[1], 'status', 'canceled', 'job', '', 'token', '')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[4], 'canceled', 1)
redis.call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', 1000, '*', 'event', 'status', 'version', r[2] or '1',
  'status', 'canceled')
if ARGV[3] ~= '' then remember(KEYS[5], ARGV[3], 'version', r[2] or '1', ARGV[4]) end
redis.call('PUBLISH', ARGV[2], ARGV[1])
return 'canceled'
