-- In front of every script: how what a key and its owner use is counted and bounded, and who is told.
--
-- usage   hash   of a key and a day: adaptations, adapt_ms, predictions
-- stored  zset   an owner's models by the end of their life
-- sizes   hash   bytes of their support sets, all versions; `total` is the sum

local function count(usage, field, n)
  redis.call('HINCRBYFLOAT', usage, field, n)
  redis.call('EXPIRE', usage, 90 * 86400)
end

local function keep(stored, sizes, id, expires, bytes)
  redis.call('ZADD', stored, expires, id)
  redis.call('HINCRBY', sizes, id, bytes)
  redis.call('HINCRBY', sizes, 'total', bytes)
end

local function drop(stored, sizes, id)
  local bytes = redis.call('HGET', sizes, id)
  redis.call('ZREM', stored, id) -- what begins by freeing memory may go on where the store is full
  redis.call('HDEL', sizes, id)
  if bytes then redis.call('HINCRBY', sizes, 'total', -bytes) end
  if redis.call('ZCARD', stored) == 0 then redis.call('DEL', sizes) end
end

-- Returns how many models there are now, and their bytes; those whose time is over leave the owner's list too
local function kept(stored, sizes, now)
  local models = string.gsub(stored, ':stored$', ':models')
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', stored, '-inf', now)) do
    drop(stored, sizes, id)
    redis.call('ZREM', models, id)
  end
  return redis.call('ZCARD', stored), tonumber(redis.call('HGET', sizes, 'total') or '0')
end

-- What a quota (JSON) refuses of `adaptations`, `models` and `bytes` more: {'quota', its name, ms until it may be
-- otherwise}, or nothing
local function over_quota(quota, usage, stored, sizes, now, adaptations, models, bytes)
  local limits = cjson.decode(quota)
  local function exceeds(name, used) return limits[name] ~= cjson.null and used > limits[name] end

  local adapted = tonumber(redis.call('HGET', usage, 'adaptations') or '0')
  if adaptations > 0 and exceeds('adaptations_per_day', adapted + adaptations) then
    return {'quota', 'adaptations_per_day', 86400000 - now % 86400000}
  end
  if bytes == 0 then return nil end
  local have, size = kept(stored, sizes, now)
  local first = redis.call('ZRANGE', stored, 0, 0, 'WITHSCORES')
  local wait = first[2] and first[2] - now or 3600000
  if exceeds('stored_models', have + models) then return {'quota', 'stored_models', wait} end
  if exceeds('stored_bytes', size + bytes) then return {'quota', 'stored_bytes', wait} end
end

-- What a client's key stands for, `field` is `id` of a model or `version`. Beside it a zset of its owner's keys by the
-- end of their life, the newest of which are kept: they cost no quota.
local most_remembered = 10000

local function remember(key, fingerprint, field, value, ms)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local all, name = string.match(key, '^(.*):(.*)$')
  redis.call('ZREMRANGEBYSCORE', all, '-inf', now) -- what begins by freeing memory may go on where the store is full
  redis.call('HSET', key, 'fingerprint', fingerprint, field, value)
  redis.call('PEXPIRE', key, ms)
  redis.call('ZADD', all, now + ms, name)
  redis.call('PEXPIRE', all, ms)
  for _, old in ipairs(redis.call('ZRANGE', all, 0, -1 - most_remembered)) do
    redis.call('DEL', all .. ':' .. old)
    redis.call('ZREM', all, old)
  end
end

-- Webhooks. hooks: hash of a model, url to secret. queue: zset of messages by when they are to be sent; beside it a
-- hash for each message, and a set for each model of those that wait.
local function waiting(owner, model)
  return 'il:' .. owner .. ':messages:' .. model
end

local function announce(queue, url, secret, now, owner, model, version, status, problem)
  local id = 'msg_' .. redis.sha1hex(table.concat({owner, model, version, status, url, now}, ' '))
  redis.call('HSET', queue .. ':' .. id, 'owner', owner, 'model', model, 'version', version, 'status', status,
    'at_ms', now, 'problem', problem, 'url', url, 'secret', secret, 'attempts', 0)
  redis.call('EXPIRE', queue .. ':' .. id, 7 * 86400)
  redis.call('ZADD', queue, now, id)
  redis.call('SADD', waiting(owner, model), id)
  redis.call('EXPIRE', waiting(owner, model), 7 * 86400)
  return id
end

-- job: owner/model[.version]
local function announce_all(hooks, queue, now, job, version, status, problem)
  local owner, model = string.match(job, '^([^/]+)/([^.]+)')
  local found = redis.call('HGETALL', hooks)
  for i = 1, #found, 2 do
    announce(queue, found[i], found[i + 1], now, owner, model, version, status, problem)
  end
end
