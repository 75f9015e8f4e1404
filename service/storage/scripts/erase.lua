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

local function drain(digest)
  local key, ended = erasing_key(base, digest), 0
  local ids = try('HRANDFIELD', key, page)
  for _, id in ipairs(ids) do
    local session = decode(try('GET', base .. id))
    if session and session.digest == digest then
      try('DEL', base .. id)
      try('SET', base .. id, ERASED, 'EX', tombstone_lifetime)
      count_end(base, session, now, count_lifetime)
      ended = ended + 1
    end
  end
  try('HDEL', key, unpack(ids))
  return ended
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
