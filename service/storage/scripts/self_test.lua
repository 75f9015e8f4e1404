-- Runs every command that the other scripts and the stores use, on throw-away keys.
--
-- KEYS  the part that the throw-away keys begin with
-- ARGV  lifetime of the keys in s
-- Returns nothing, or the error of the first command that does not work, with the command's name.
--
-- EXPIRE comes before the commands that make keys without a lifetime.

local ttl = ARGV[1]
local text, hash, set = KEYS[1] .. 'text', KEYS[1] .. 'hash', KEYS[1] .. 'set'
local sorted, sketch, other = KEYS[1] .. 'sorted', KEYS[1] .. 'sketch', KEYS[1] .. 'other'

try('SET', text, 'x', 'EX', ttl, 'NX')
try('EXPIRE', text, ttl, 'NX')
try('EXPIRE', text, ttl, 'GT')
try('TTL', text)
try('GET', text)
try('GETRANGE', text, 0, 3)
try('EXISTS', text)
try('MGET', text)
try('DEL', text)

try('BITFIELD', text, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', '#1', 1)
try('EXPIRE', text, ttl)

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

try('DEL', text, hash, set, sorted, sketch, other)
