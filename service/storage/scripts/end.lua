-- Ends live sessions and takes each out of the counts exactly once, in one atomic step.
--
-- KEYS  one session key each
-- ARGV  now in seconds since the epoch, lifetime of counts in s
-- Returns for each key the session's source when this call ended it, else an empty string.
--
-- Repeatable: who finds the value takes it away and counts it; a retry finds nothing. The deletion comes before the
-- counts because it may run when memory is full and, being a write, lets the rest of the script run too.

local now, count_ttl = tonumber(ARGV[1]), tonumber(ARGV[2])

-- Only where the hash still stands: a count made anew here would be negative.
local function subtract(key, field)
  if redis.call('EXISTS', key) == 1 then add(key, field, -1) end
end

local ended = {}
for i, key in ipairs(KEYS) do
  local session = decode(redis.pcall('GET', key))
  ended[i] = ''
  if session then
    redis.call('DEL', key)
    local base, at, source = base_of(key), session.started, session.source
    subtract(minutes_key(base, at), minute_field(at, source))
    subtract(day_key(base, at), day_field(at, 'l', source))
    if session.digest then redis.pcall('ZREM', base .. 'user:' .. session.digest, id_of(key)) end
    add(day_key(base, now), day_field(now, 'e', source), 1, count_ttl)
    ended[i] = source
  end
end
return ended
