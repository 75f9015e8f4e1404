-- Ends live sessions and counts each end once, in one atomic step.
--
-- KEYS  one session key each. Other keys may follow.
-- ARGV  now (seconds since the epoch), lifetime of counts, number of sessions
-- Returns for each key the source of the session that this call ended, or ''.
--
-- Repeatable: the call that finds a value deletes and counts it. A retry finds none.

local now, count_lifetime = tonumber(ARGV[1]), tonumber(ARGV[2])

local ended = {}
for i = 1, tonumber(ARGV[3]) do
  local key = KEYS[i]
  local session = decode(try('GET', key))
  ended[i] = ''
  if session then
    local base = base_of(key)
    -- DEL is the first write. A full Redis runs it, and after a first write it runs the
    -- rest of the script too.
    try('DEL', key)
    count_end(base, session, now, count_lifetime)
    if session.digest then try('HDEL', index_key(base, session.digest), id_of(key)) end
    ended[i] = session.source
  end
end
return ended
