-- Ends live sessions and takes each out of the counts exactly once, in one atomic step.
--
-- KEYS  one session key each
-- ARGV  now in seconds since the epoch, lifetime of counts in s
-- Returns for each key the session's source when this call ended it, else an empty string.
--
-- Repeatable: who finds the value takes it away and counts it; a retry finds nothing.

local now, count_lifetime = tonumber(ARGV[1]), tonumber(ARGV[2])

local ended = {}
for i, key in ipairs(KEYS) do
  local session = decode(redis.pcall('GET', key))
  ended[i] = ''
  if session then
    retire(key, session, now, count_lifetime)
    if session.digest then redis.pcall('HDEL', base_of(key) .. 'user:' .. session.digest, id_of(key)) end
    ended[i] = session.source
  end
end
return ended
