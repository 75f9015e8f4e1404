-- Ends live sessions and takes each out of the counts exactly once, in one atomic step.
--
-- KEYS  one session key each
-- ARGV  now in seconds since the epoch, lifetime of counts in s
-- Returns for each key the session's source when this call ended it, else an empty string.
--
-- Repeatable: the call that finds the value deletes and counts it. A retry finds nothing.

local now, count_lifetime = tonumber(ARGV[1]), tonumber(ARGV[2])

local ended = {}
for i, key in ipairs(KEYS) do
  local session = decode(try('GET', key))
  ended[i] = ''
  if session then
    local base = base_of(key)
    -- First: a deletion may run when memory is full and, being a write, lets the rest of the script run.
    try('DEL', key)
    count_end(base, session, now, count_lifetime)
    if session.digest then try('HDEL', index_key(base, session.digest), id_of(key)) end
    ended[i] = session.source
  end
end
return ended
