-- Functions that the scripts of creations share: the counts, lists and indexes of new
-- sessions. script_files.py sends this file in front of them.
--
-- ARGV  lifetimes of sessions, of counts and of counts by minute, size of a top list,
--       tomorrow (days since the epoch). Each script describes the rest.

-- Lifetimes stay strings: Redis needs 0.3 µs to convert a number to an argument.
local ttl, count_lifetime, minutes_lifetime = ARGV[1], ARGV[2], ARGV[3]
local top_size, tomorrow = tonumber(ARGV[4]), tonumber(ARGV[5])

-- Extends the lifetime of an index to that of its new session. It is never shortened,
-- because earlier sessions may have been created with a longer `session.ttl_seconds`.
-- NX sets the lifetime of a new index and GT extends that of a known one, so trying the
-- likely condition first saves a command.
local function extend(key, is_known)
  if is_known then return expire(key, ttl, 'GT') or expire_once(key, ttl) end
  return expire_once(key, ttl) or expire(key, ttl, 'GT')
end

-- An id that ends in 0 or 8 prunes its index. So 1 creation in 8 looks at 24 random
-- entries, 3 per creation, and at most a third of a busy user's index is expired.
-- Entries sorted by expiry would need 50 bytes more for each session.
local PRUNING_IDS, PRUNED_ENTRIES = '[08]$', 24

local function prune(key, base)
  local ids, keys, expired = try('HRANDFIELD', key, PRUNED_ENTRIES), {}, {}
  for i, other in ipairs(ids) do keys[i] = base .. other end
  -- One MGET costs a sixth of a command for each key.
  for i, value in ipairs(try('MGET', unpack(keys))) do
    if not value then expired[#expired + 1] = ids[i] end
  end
  if #expired > 0 then try('HDEL', key, unpack(expired)) end
end

local function add_to_index(base, digest, id, is_known)
  local key = index_key(base, digest)
  if not try('HSET', key, id, '') then return end -- another program's data
  extend(key, is_known)
  if string.find(id, PRUNING_IDS) then prune(key, base) end
end

local function count_in(score) return math.floor(tonumber(score) / TOP_SCORE_UNIT) end
local function score_of(count, error_bound) return count * TOP_SCORE_UNIT + error_bound end

-- The sizes of the top lists that this batch has added to.
local sizes = {}

-- Adds one session to a user's count in a top list. Returns whether the user was in it.
--
-- The algorithm is Space-Saving (Metwally et al. 2005). A new user in a full list
-- replaces the user with the least count, and takes over this count, which is also the
-- error bound of the new entry. A user with more than (all sessions / top_size) is
-- always in the list. The member '' is the floor: the greatest count of a user who was
-- replaced. It bounds the count of every user outside the list, even after an erasure.
-- No score is below it.
local function add_to_top_list(key, user)
  if try('ZADD', key, 'XX', 'INCR', ONE_SESSION, user) then return true end
  local size = sizes[key] or try('ZCARD', key)
  if not size then return false end -- another program's data
  -- A list with a floor may have one member more.
  local floor = size > top_size or (size > 0 and try('ZSCORE', key, ''))
  if size - (floor and 1 or 0) >= top_size then
    local popped = try('ZPOPMIN', key, floor and 2 or 1)
    local replaced = count_in(popped[#popped])
    try('ZADD', key, score_of(replaced, 0), '', score_of(replaced + 1, replaced), user)
    sizes[key] = floor and size or size + 1
  else
    local bound = floor and count_in(floor) or 0
    try('ZADD', key, score_of(bound + 1, bound), user)
    sizes[key] = size + 1
  end
  if size == 0 then expire_once(key, count_lifetime) end
  return false
end

-- Adds users to a day's sketch of unique users. A new user invalidates the remembered
-- numbers of every range that includes this day (see union.lua).
local function add_to_sketch(base, day, source, users)
  local key = sketch_key(base, day, source)
  if try('PFADD', key, unpack(users)) ~= 1 then return end
  expire_once(key, count_lifetime)
  local unions = {}
  for last_day = math.max(day, tomorrow - MAX_DAYS), tomorrow do
    unions[#unions + 1] = unions_key(base, last_day)
  end
  if #unions > 0 then try('DEL', unpack(unions)) end
end

-- Returns the keys (without base) and counters of a source and a minute. The last
-- result is kept, because most batches have one source and minute. Lua needs 0.2 µs to
-- make a string from a number.
local last_target
local function target_of(source, minute)
  local known = last_target
  if known and known.source == source and known.minute == minute then return known end
  local moment = tonumber(minute) * MINUTE
  local day = day_of(moment)
  last_target = {
    source = source, minute = minute, day = day,
    minutes_key = minutes_key('', hour_of(moment), source), in_minute = minute_counter(moment),
    day_key = day_key('', day, source),
    created = hour_counter(moment, CREATED_IN_HOUR), live = hour_counter(moment, LIVE_IN_HOUR),
    top_key = top_key('', day),
  }
  return last_target
end

local function count(group)
  local base, number, target = group.base, group.number, target_of(group.source, group.minute)
  local increment = tostring(number)
  local minutes = base .. target.minutes_key
  local live = try('BITFIELD', minutes, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', target.in_minute, increment)
  if live and live[1] == number then expire_once(minutes, minutes_lifetime) end
  local created = try('BITFIELD', base .. target.day_key, 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', CREATED_IN_DAY, increment, 'INCRBY', 'u32', target.created, increment,
    'INCRBY', 'u32', target.live, increment)
  if created and created[1] == number then register(base, target.day, group.source, count_lifetime) end
  if #group.users == 0 then return end
  local top = base .. target.top_key
  for i, user in ipairs(group.users) do
    local is_known = add_to_top_list(top, user)
    add_to_index(base, group.digests[i], group.ids[i], is_known)
  end
  add_to_sketch(base, target.day, group.source, group.users)
end
