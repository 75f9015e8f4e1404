-- Stores and counts a new session, or returns the one that an earlier request with the
-- same idempotency key has created.
--
-- KEYS  the session's key, the key of the request's hash. Other keys may follow.
-- ARGV  the five of creating.lua, source, minute of the start (minutes since the
--       epoch), the session's value. Of a user also: user id and user digest.
-- Returns { id, value } of the session, or { id, '' } when it is not live any more.
--
-- Repeatable: after a lost reply the script finds the id and returns the same. When
-- counting fails, the script deletes the session and the remembered id.

local session_key, remembered_key = KEYS[1], KEYS[2]
local source, minute, value, user, digest = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local base, id = base_of(session_key), id_of(session_key)

local remembered = try('GET', remembered_key)
if remembered then
  local present = try('GET', base .. remembered)
  return { remembered, decode(present) and present or '' }
end

local function create()
  try('SET', remembered_key, id, 'EX', ttl, 'NX')
  if not try('SET', session_key, value, 'EX', ttl, 'NX') then error('ERR the id of a new session is taken') end
  count({
    base = base, source = source, minute = minute, number = 1,
    users = { user }, digests = { digest }, ids = user and { id } or {},
  })
end

local ok, failure = pcall(create)
if not ok then
  redis.pcall('DEL', session_key, remembered_key)
  raise_again(failure)
end
return { id, value }
