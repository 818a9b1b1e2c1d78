-- A worker lives.
-- KEYS its key, workers   ARGV name, seconds that it counts for
redis.call('DEL', KEYS[1]) -- what begins by freeing memory may go on where the store is full
redis.call('SET', KEYS[1], '1', 'EX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
