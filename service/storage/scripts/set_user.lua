-- Replaces a session with a successor that has another user, or none.
--
-- KEYS  the keys of the sessions that the step changes: the session's, the successor's,
--       or both. Other keys may follow.
-- ARGV  the five of creating.lua, step, now (seconds since the epoch), the successor's
--       lifetime (ms), lifetime of tombstones, the session's key, the successor's key,
--       the session's value, the successor's value. Of a successor with a user also:
--       user id and user digest.
-- Each step describes its result. user_changes.py describes the order of the steps.
--
-- Repeatable: after a lost reply, a step finds its own result and returns the same.

local step, now, lifetime_ms, tombstone_lifetime = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local session_key, successor_key, value, successor_value = ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local user, digest = ARGV[14], ARGV[15]
local base, successor_base = base_of(session_key), base_of(successor_key)
local pointer, pending = POINTER .. successor_key, PENDING .. successor_key .. '\n' .. value

local function keep_lifetime(new_value) try('SET', session_key, new_value, 'KEEPTTL') end
local function lifetime_left() return math.max(1, try('PTTL', session_key)) end

-- Removes one session from a user's count in the top list of the session's day.
-- When count − 1 equals the error bound, the user may have no session left and leaves
-- the list. The floor is at least the error bound, so it still bounds the sessions that
-- the user may have. No score falls below the floor.
local function remove_from_top_list(session)
  local key = top_key(base, day_of(session.started))
  local score = tonumber(try('ZSCORE', key, session.user) or nil)
  if not score then return end
  local others = count_in(score) - 1
  local certain = others - score % TOP_SCORE_UNIT
  if certain <= 0 then return try('ZREM', key, session.user) end
  local floor = count_in(try('ZSCORE', key, '') or 0)
  local bound = math.max(others, floor)
  try('ZADD', key, score_of(bound, bound - certain), session.user)
end

-- Removes the session from the live counts, the index and the top list, and counts the
-- change. HDEL is the first write. A full Redis runs it, and after a first write it
-- runs the rest of the script too. So consent can be withdrawn while Redis is full.
local function leave(given)
  local session = decode(value)
  if session.digest then
    try('HDEL', index_key(base, session.digest), id_of(session_key))
    if session.changes == 0 then remove_from_top_list(session) end
  end
  subtract_live(base, session)
  local today, withdrawn = day_of(now), session.digest and 1 or 0
  try('BITFIELD', day_key(base, today, session.source), 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', hour_counter(now, CONSENT_GIVEN_IN_HOUR), given,
    'INCRBY', 'u32', hour_counter(now, CONSENT_WITHDRAWN_IN_HOUR), withdrawn)
  register(base, today, session.source, count_lifetime)
end

-- Stores the successor and counts it as live. Returns false when it is fenced off.
local function arrive(lifetime)
  if not try('SET', successor_key, successor_value, 'PX', lifetime, 'NX') then
    return try('GET', successor_key) ~= FENCED
  end
  local session = decode(successor_value)
  local minutes = minutes_key(successor_base, hour_of(session.started), session.source)
  local day = day_of(session.started)
  try('BITFIELD', minutes, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', minute_counter(session.started), 1)
  expire_once(minutes, minutes_lifetime)
  try('BITFIELD', day_key(successor_base, day, session.source), 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', hour_counter(session.started, LIVE_IN_HOUR), 1)
  register(successor_base, day, session.source, count_lifetime)
  if user then
    add_to_index(successor_base, digest, id_of(successor_key), true)
    add_to_sketch(successor_base, day_of(now), session.source, { user })
  end
  return true
end

local steps = {}

-- Does everything, with both keys on one server. Returns 1, or 0 when the session has
-- changed.
function steps.all()
  local present = try('GET', session_key)
  if present == pointer then return 1 end
  if present ~= value then return 0 end
  local lifetime = lifetime_left()
  leave(user and 1 or 0)
  arrive(lifetime)
  keep_lifetime(pointer)
  return 1
end

-- Marks the session, which stays live. Returns its remaining lifetime in ms, or 0 when
-- it has changed.
function steps.begin()
  local present = try('GET', session_key)
  if present ~= pending then
    if present ~= value then return 0 end
    keep_lifetime(pending)
  end
  return lifetime_left()
end

-- Stores the successor. Returns 0 when another request has fenced it off.
function steps.create() return arrive(lifetime_ms) and 1 or 0 end

-- Ends the life of a marked session, whose successor is stored. Returns 0 when the
-- session is gone.
function steps.finish()
  local present = try('GET', session_key)
  if present == pointer then return 1 end
  if present ~= pending then return 0 end
  begin_writes(base) -- `leave` of a guest begins with BITFIELD
  leave(1)
  keep_lifetime(pointer)
  return 1
end

-- Keeps the successor from being stored by a request that is late. Returns 1 when it
-- was stored before. This step and the next ones also run while Redis is full, so that
-- a session can be ended and consent be withdrawn after an interrupted change.
function steps.fence()
  begin_writes(successor_base)
  if try('SET', successor_key, FENCED, 'EX', tombstone_lifetime, 'NX') then return 0 end
  return try('GET', successor_key) == FENCED and 0 or 1
end

-- Removes the mark of a session whose successor is fenced off.
function steps.cancel()
  begin_writes(base)
  if try('GET', session_key) == pending then keep_lifetime(value) end
  return 1
end

-- Removes a stored successor, because the session is gone. Its end was counted.
function steps.retract()
  local present = try('GET', successor_key)
  local session = decode(present)
  if present ~= successor_value or not session then return 0 end
  try('DEL', successor_key)
  try('SET', successor_key, ERASED, 'EX', tombstone_lifetime)
  subtract_live(successor_base, session)
  try('HDEL', index_key(successor_base, session.digest), id_of(successor_key))
  return 1
end

return steps[step]()
