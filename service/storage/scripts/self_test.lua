-- Runs every command that the other scripts and the stores use, on temporary keys.
--
-- KEYS  the base of the temporary keys
-- ARGV  lifetime of the keys
-- Returns nothing, or the error of the first command that fails, with its name.
--
-- EXPIRE is tested first, so that the later commands leave no key without a lifetime.

local ttl = ARGV[1]
local string_key, hash, set = KEYS[1] .. 'string', KEYS[1] .. 'hash', KEYS[1] .. 'set'
local sorted, sketch, other = KEYS[1] .. 'sorted', KEYS[1] .. 'sketch', KEYS[1] .. 'other'

try('SET', string_key, 'x', 'EX', ttl, 'NX')
try('EXPIRE', string_key, ttl, 'NX')
try('EXPIRE', string_key, ttl, 'GT')
try('TTL', string_key)
try('PTTL', string_key)
try('GET', string_key)
try('EXISTS', string_key)
try('MGET', string_key)
try('DEL', string_key)

try('BITFIELD', string_key, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', '#1', 1)
try('EXPIRE', string_key, ttl)

try('HSET', hash, 'field', 'x')
try('EXPIRE', hash, ttl)
try('HGET', hash, 'field')
try('HLEN', hash)
try('HGETALL', hash)
try('HRANDFIELD', hash, 3)
try('HSCAN', hash, '0', 'COUNT', 10)
try('RENAME', hash, other)
try('HDEL', other, 'field')

try('SADD', set, 'x')
try('EXPIRE', set, ttl)
try('SMEMBERS', set)

try('ZADD', sorted, 1, 'x', 2, 'y')
try('EXPIRE', sorted, ttl)
try('ZADD', sorted, 'XX', 'INCR', 1, 'x')
try('ZCARD', sorted)
try('ZSCORE', sorted, 'x')
try('ZRANGE', sorted, 0, 0, 'WITHSCORES')
try('ZREM', sorted, 'y')
try('ZPOPMIN', sorted, 1)

try('PFADD', sketch, 'x')
try('EXPIRE', sketch, ttl)
try('PFCOUNT', sketch)
try('PFMERGE', other, sketch)
try('EXPIRE', other, ttl)

try('DEL', string_key, hash, set, sorted, sketch, other)
