-- Ends live sessions and counts each end once, in one atomic step.
--
-- KEYS  one session key each. Other keys may follow. See session_keys in shard.lua for
--       several shards of a cluster.
-- ARGV  now (seconds since the epoch), lifetimes of counts and of tombstones, number of
--       sessions, '1' when keys of several shards may be named in one script
-- Returns for each key the source of the session that this call ended, or ''. When a
-- session was replaced, its successor is ended. If the successor is in another shard
-- and a script may not name it, the reply is '>' and the successor's key. While the
-- session is being replaced, the reply is '?' and the session's own key.
--
-- Repeatable: the call that finds a value deletes and counts it. A retry finds none.

local now, count_lifetime, tombstone_lifetime = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local names_any_shard = ARGV[5] == '1'

-- Returns the key in a pointer under another key of ours, or nil.
local function successor_of(key, value)
  local successor = type(value) == 'string' and string.match(value, '^' .. POINTER .. '(.+)$')
  if not successor or #successor ~= #key then return nil end
  local prefix = string.match(base_of(key), '^(.*{)')
  return string.sub(successor, 1, #prefix) == prefix and successor or nil
end

-- Returns the last key in a chain of successors, its value, and its successor when that
-- may not be named.
local function newest(key)
  local value = try('GET', key)
  local successor = successor_of(key, value)
  while successor do
    if not names_any_shard and base_of(successor) ~= base_of(key) then return key, value, successor end
    key, value = successor, try('GET', successor)
    successor = successor_of(key, value)
  end
  return key, value
end

local function end_session(key)
  local present, successor
  key, present, successor = newest(key)
  if successor then return POINTER .. successor end
  local session = decode(present)
  if not session then return '' end
  if string.sub(present, 1, 1) == PENDING then return PENDING .. key end
  local base = base_of(key)
  -- DEL is the first write. A full Redis runs it, and after a first write it runs the
  -- rest of the script too.
  try('DEL', key)
  -- Keeps a late repetition of `create` in set_user.lua from storing it again.
  if session.changes > 0 then try('SET', key, ERASED, 'EX', tombstone_lifetime) end
  count_end(base, session, now, count_lifetime)
  if session.digest then try('HDEL', index_key(base, session.digest), id_of(key)) end
  return session.source
end

local ended, number = {}, tonumber(ARGV[4])
local keys = session_keys(number)
for i = 1, number do ended[i] = end_session(keys[i]) end
return ended
