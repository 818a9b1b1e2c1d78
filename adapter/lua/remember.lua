-- Let a client's key stand for a version that has what it brings already.
-- KEYS idempotency   ARGV fingerprint, version, idempotency ms
remember(KEYS[1], ARGV[1], 'version', ARGV[2], ARGV[3])
return 1
