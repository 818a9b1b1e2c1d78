-- Which version of a model is the newest that is still being adapted.
-- KEYS first record
-- Returns its number, or that of the newest where none is
local latest = tonumber(redis.call('HGET', KEYS[1], 'latest') or '1')
for version = latest, 1, -1 do
  local status = redis.call('HGET', KEYS[1] .. (version == 1 and '' or '.' .. version), 'status')
  if status == 'queued' or status == 'adapting' then return version end
end
return latest
