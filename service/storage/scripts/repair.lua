-- Adds live sessions of users to the indexes of their users. Only `doctor --repair`
-- runs it.
--
-- KEYS  one session key each
-- Returns nothing. The caller reads the indexes afterwards.
--
-- Repeatable. A session that has ended is skipped.

for _, key in ipairs(KEYS) do
  local session, ttl = decode(try('GET', key)), try('TTL', key)
  if session and session.digest and ttl > 0 then
    local index = index_key(base_of(key), session.digest)
    if try('HSET', index, id_of(key), '') and not expire_once(index, ttl) then
      try('EXPIRE', index, ttl, 'GT')
    end
  end
end
