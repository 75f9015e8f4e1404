-- Advances the erasure of a user by one bounded step in one shard.
--
-- KEYS  the base of the shard
-- ARGV  token of the erasure, number of sessions to visit, now (seconds since the
--       epoch), lifetimes of counts, of the receipt and of tombstones, user id, the
--       user's digests in this shard
-- Returns { state, total }. The total is the number of sessions that this erasure has
-- ended in this shard. The states are those of ErasureState in script_replies.py. Once
-- the state is BEGUN, the user id may be empty.
--
-- The user's index is renamed once. The rename separates the sessions that the erasure
-- ends from those that are created later. Redis decides the order, so the clocks of
-- several machines do not matter. An index that an earlier, unfinished erasure has
-- renamed is drained first. Two erasures at once drain the same index. Each session is
-- in the total of the erasure that ended it.
-- An ended session leaves a tombstone, so that a creation that is repeated after a lost
-- reply does not store the session again (see create.lua).
-- Repeatable: the receipt keeps the state and the total, and a retry continues there.

local FIRST_DIGEST = 8

local base, token, page_size = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now, count_lifetime = tonumber(ARGV[3]), tonumber(ARGV[4])
local receipt_lifetime, tombstone_lifetime, user = ARGV[5], ARGV[6], ARGV[7]

-- Renames the user's indexes and removes the user from the top lists.
local function begin()
  for i = FIRST_DIGEST, #ARGV do
    local index = index_key(base, ARGV[i])
    if (try('HLEN', index) or 0) > 0 then try('RENAME', index, erasing_key(base, ARGV[i])) end
  end
  for day = day_of(now) - MAX_DAYS, day_of(now) + 1 do try('ZREM', top_key(base, day), user) end
end

-- Returns the words of a BITFIELD that adds to counters, given by their names.
local function increments(counters, sign)
  local words = {}
  for counter, number in pairs(counters) do
    local n = #words
    words[n + 1], words[n + 2], words[n + 3], words[n + 4] = 'INCRBY', 'u32', counter, sign * number
  end
  return unpack(words)
end

-- Counts the ends of many sessions. They share the writes to their counters.
-- `count_end` in shard.lua does the same for one session.
local function count_ends(sessions)
  local live, ended, days = {}, {}, {}
  local function tally(counts, key, counter)
    counts[key] = counts[key] or {}
    counts[key][counter] = (counts[key][counter] or 0) + 1
  end
  for _, session in ipairs(sessions) do
    local started, source, moment = session.started, session.source, end_moment(session.started, now)
    tally(live, minutes_key(base, hour_of(started), source), minute_counter(started))
    tally(live, day_key(base, day_of(started), source), hour_counter(started, LIVE_IN_HOUR))
    local day = day_of(moment)
    local key = day_key(base, day, source)
    days[key] = { day, source }
    tally(ended, key, ENDED_IN_DAY)
    tally(ended, key, ended_counter(started, day))
    tally(ended, key, hour_counter(moment, ENDED_IN_HOUR))
  end
  for key, counters in pairs(live) do
    if try('EXISTS', key) == 1 then -- see `subtract` in shard.lua
      try('BITFIELD', key, 'OVERFLOW', 'SAT', increments(counters, -1))
    end
  end
  for key, counters in pairs(ended) do
    if try('BITFIELD', key, 'OVERFLOW', 'SAT', increments(counters, 1)) then
      register(base, days[key][1], days[key][2], count_lifetime)
    end
  end
end

-- Ends a page of the sessions in a renamed index. Returns their number.
local function drain(digest)
  local key, keys, live_keys, sessions = erasing_key(base, digest), {}, {}, {}
  local ids = try('HRANDFIELD', key, page_size)
  for i, id in ipairs(ids) do keys[i] = base .. id end
  for i, value in ipairs(try('MGET', unpack(keys))) do
    local session = decode(value)
    if session and session.digest == digest then
      live_keys[#live_keys + 1], sessions[#sessions + 1] = keys[i], session
    end
  end
  if #live_keys > 0 then
    try('DEL', unpack(live_keys))
    for _, session_key in ipairs(live_keys) do try('SET', session_key, ERASED, 'EX', tombstone_lifetime) end
    count_ends(sessions)
  end
  try('HDEL', key, unpack(ids))
  return #live_keys
end

-- Returns the first digest whose renamed index has sessions left, or nil. The second
-- result is true when the key of a renamed index has another program's data.
local function unfinished()
  for i = FIRST_DIGEST, #ARGV do
    local size = try('HLEN', erasing_key(base, ARGV[i]))
    if not size then return nil, true end
    if size > 0 then return ARGV[i] end
  end
end

-- EXPIRE is the first write. A full Redis runs it, and after a first write it runs the
-- rest of the script too.
local receipt = receipt_key(base, token)
try('EXPIRE', receipt, receipt_lifetime)
local state, total = string.match(try('GET', receipt) or '', '^(%d) (%d+)$')
state, total = tonumber(state or ERASURE_DRAINING), tonumber(total or 0)

local digest, is_foreign = unfinished()
if is_foreign then return { ERASURE_FOREIGN, total } end
if state == ERASURE_DRAINING and not digest then
  begin()
  state, digest = ERASURE_BEGUN, unfinished()
end
if digest then
  total = total + drain(digest)
  digest = unfinished()
end
if state == ERASURE_BEGUN and not digest then state = ERASURE_DONE end
try('SET', receipt, state .. ' ' .. total, 'EX', receipt_lifetime)
return { state, total }
