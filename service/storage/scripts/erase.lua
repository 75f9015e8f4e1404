-- Advances the erasure of a user by one bounded step in one shard.
--
-- KEYS  the part that the shard's keys begin with
-- ARGV  token of the erasure, number of sessions to visit, now in seconds since the epoch, lifetime of
--       counts, of the receipt and of tombstones (all in s), user id, the user's digests in this shard
-- Returns { state, sessions ended so far by this erasure in this shard }. The state is DRAINING, BEGUN,
--       DONE or FOREIGN, see below. The user id is needed, and may be empty otherwise, until the state is
--       BEGUN.
--
-- The user's index is renamed once. This moment separates the sessions that the erasure ends from those
-- that are created after it, so the order is that of Redis and not of the clocks of several machines. An
-- index that an unfinished erasure has renamed is drained first. Two erasures at once drain the same
-- index, and each session is in the total of the one that ended it.
-- A session that was ended leaves a tombstone, so that a creation that is repeated after a lost reply
-- stores nothing (see create.lua).
-- Repeatable: the receipt keeps state and total, and a retry goes on from there.

-- Draining: more sessions are left, perhaps of an unfinished erasure. Foreign: another program's data is
-- in the place of the renamed index.
local DRAINING, BEGUN, DONE, FOREIGN = 0, 1, 2, 3
local FIRST_DIGEST = 8

local base, token, page = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now, count_lifetime = tonumber(ARGV[3]), tonumber(ARGV[4])
local receipt_lifetime, tombstone_lifetime, user = ARGV[5], ARGV[6], ARGV[7]
local receipt_key = base .. 'erased:' .. token

local function begin()
  for i = FIRST_DIGEST, #ARGV do
    local index = index_key(base, ARGV[i])
    if (try('HLEN', index) or 0) > 0 then try('RENAME', index, erasing_key(base, ARGV[i])) end
  end
  for day = day_of(now) - MAX_DAYS, day_of(now) + 1 do try('ZREM', top_key(base, day), user) end
end

-- Counts the ends of many sessions. They share the writes to their counters (compare `count_end`).
local function count_ends(sessions)
  local live, ended = {}, {}
  local function tally(key, counter)
    live[key] = live[key] or {}
    live[key][counter] = (live[key][counter] or 0) + 1
  end
  for _, session in ipairs(sessions) do
    local at, source = session.started, session.source
    tally(minutes_key(base, hour_of(at), source), minute_at(at))
    tally(day_key(base, day_of(at), source), hour_at(at, LIVE_IN_HOUR))
    ended[source] = (ended[source] or 0) + 1
  end
  for key, counters in pairs(live) do
    if try('EXISTS', key) == 1 then -- else it stays gone: a new one would be wrong
      local words = {}
      for counter, number in pairs(counters) do
        local n = #words
        words[n + 1], words[n + 2], words[n + 3], words[n + 4] = 'INCRBY', 'u32', counter, -number
      end
      try('BITFIELD', key, 'OVERFLOW', 'SAT', unpack(words))
    end
  end
  local today = day_of(now)
  for source, number in pairs(ended) do
    local counters = try('BITFIELD', day_key(base, today, source), 'OVERFLOW', 'SAT',
      'INCRBY', 'u32', ENDED_IN_DAY, number, 'INCRBY', 'u32', hour_at(now, ENDED_IN_HOUR), number)
    if counters and counters[1] == number then register(base, today, source, count_lifetime) end
  end
end

local function drain(digest)
  local key, keys, own, sessions = erasing_key(base, digest), {}, {}, {}
  local ids = try('HRANDFIELD', key, page)
  for i, id in ipairs(ids) do keys[i] = base .. id end
  for i, value in ipairs(try('MGET', unpack(keys))) do
    local session = decode(value)
    if session and session.digest == digest then own[#own + 1], sessions[#sessions + 1] = keys[i], session end
  end
  if #own > 0 then
    try('DEL', unpack(own))
    for _, session_key in ipairs(own) do try('SET', session_key, ERASED, 'EX', tombstone_lifetime) end
    count_ends(sessions)
  end
  try('HDEL', key, unpack(ids))
  return #own
end

-- Returns the first digest whose renamed index has sessions left, nil when there is none.
local function unfinished()
  for i = FIRST_DIGEST, #ARGV do
    local size = try('HLEN', erasing_key(base, ARGV[i]))
    if not size then return nil, true end
    if size > 0 then return ARGV[i] end
  end
end

-- First: a command that needs no memory may run when memory is full and, being a write, lets the rest of
-- the script run.
try('EXPIRE', receipt_key, receipt_lifetime)
local state, total = string.match(try('GET', receipt_key) or '', '^(%d) (%d+)$')
state, total = tonumber(state or DRAINING), tonumber(total or 0)

local digest, is_foreign = unfinished()
if is_foreign then return { FOREIGN, total } end
if state == DRAINING and not digest then
  begin()
  state, digest = BEGUN, unfinished()
end
if digest then
  total = total + drain(digest)
  digest = unfinished()
end
if state == BEGUN and not digest then state = DONE end
try('SET', receipt_key, state .. ' ' .. total, 'EX', receipt_lifetime)
return { state, total }
