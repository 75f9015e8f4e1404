-- Stores new sessions and counts each exactly once, in one atomic step.
--
-- KEYS  one session key each
-- ARGV  session ttl, lifetime of counts, lifetime of counts by minute (all in s), size of a top list,
--       tomorrow (days since the epoch), number of groups;
--       for each group: source, start in minutes since the epoch;
--       for each key: its group, value, user id and user digest (both empty for a guest)
-- Returns for each key 1 when its session is stored, 0 when something else holds the key.
--
-- Sessions of a batch that share a shard, a source and a minute form a group, so that they share the
-- writes to their counters.
-- Repeatable: a retry after a lost reply finds its own values, returns 1 and counts nothing. A session
-- that an erasure ended in the meantime stays ended. When counting fails, no session of the batch stays.

-- Lifetimes stay strings: Redis takes 0.3 µs to turn a number into an argument.
local ttl, count_lifetime, minutes_lifetime = ARGV[1], ARGV[2], ARGV[3]
local top_size, tomorrow, group_count = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local GROUP_FIELDS, SESSION_FIELDS = 2, 4
local first_group = 7
local first_session = first_group + group_count * GROUP_FIELDS

-- One creation in 8 looks at 24 random entries of the index: 3 per creation, so that at most a third of
-- a busy user's index are sessions that have expired. An order by expiry would cost 50 bytes a session.
local PRUNING_IDS, PRUNED_AT_ONCE = '[08]$', 24
local ONE_MORE = string.format('%.0f', TOP_SCORE_UNIT)

-- The index outlives its last session, also after session.ttl_seconds was lowered. Both orders of the two
-- commands lead to the same. One command suffices for a new index when NX comes first, and for one that is
-- renewed when GT does.
local function renew(key, is_known)
  if is_known then return expire(key, ttl, 'GT') or expire_once(key, ttl) end
  return expire_once(key, ttl) or expire(key, ttl, 'GT')
end

local function index(base, digest, id, is_known)
  local key = index_key(base, digest)
  if not try('HSET', key, id, '') then return end -- foreign data
  renew(key, is_known)
  if not string.match(id, PRUNING_IDS) then return end
  local ids, keys, dead = try('HRANDFIELD', key, PRUNED_AT_ONCE), {}, {}
  for i, other in ipairs(ids) do keys[i] = base .. other end
  -- One command. To ask for each key by itself costs six times as much.
  for i, value in ipairs(try('MGET', unpack(keys))) do
    if not value then dead[#dead + 1] = ids[i] end
  end
  if #dead > 0 then try('HDEL', key, unpack(dead)) end
end

local function count_in(given) return math.floor(tonumber(given) / TOP_SCORE_UNIT) end
local function score(count, error_bound) return count * TOP_SCORE_UNIT + error_bound end

-- The sizes of the top lists that this batch has added to.
local sizes = {}

-- Space-Saving (Metwally et al. 2005): a newcomer to a full list takes over the least count and, as its
-- error bound, that same count. A user with more than (all sessions / top_size) is certain to be in the
-- list. The member '' keeps the greatest count that was ever given up. It bounds every user who is not in
-- the list, also after an erasure, and no member has a lower score.
-- Returns whether the user was in the list.
local function rank(key, user)
  if try('ZADD', key, 'XX', 'INCR', ONE_MORE, user) then return true end
  local size = sizes[key] or try('ZCARD', key)
  if not size then return false end -- foreign data
  local floor = size > top_size or (size > 0 and try('ZSCORE', key, '')) -- a list with '' may have one more
  if size - (floor and 1 or 0) >= top_size then
    local popped = try('ZPOPMIN', key, floor and 2 or 1)
    local given_up = count_in(popped[#popped])
    try('ZADD', key, score(given_up, 0), '', score(given_up + 1, given_up), user)
    sizes[key] = floor and size or size + 1
  else
    local given_up = floor and count_in(floor) or 0
    try('ZADD', key, score(given_up + 1, given_up), user)
    sizes[key] = size + 1
  end
  if size == 0 then expire_once(key, count_lifetime) end
  return false
end

-- A new user invalidates the remembered numbers of every range that includes this day (see union.lua).
local function sketch(base, day, source, users)
  local key = sketch_key(base, day, source)
  if try('PFADD', key, unpack(users)) ~= 1 then return end
  expire_once(key, count_lifetime)
  local unions = {}
  for last = math.max(day, tomorrow - MAX_DAYS), tomorrow do unions[#unions + 1] = unions_key(base, last) end
  if #unions > 0 then try('DEL', unpack(unions)) end
end

-- What groups of the same source and minute share. Most batches have one of each, and every string that is
-- made from a number costs 0.2 µs.
local place
local function place_of(source, minute)
  if place and place.source == source and place.minute == minute then return place end
  local at = tonumber(minute) * MINUTE
  local day = day_of(at)
  place = {
    source = source, minute = minute, day = day,
    minutes = minutes_key('', hour_of(at), source), in_hour = minute_at(at),
    counters = day_key('', day, source), created = hour_at(at, CREATED_IN_HOUR), live = hour_at(at, LIVE_IN_HOUR),
    top = top_key('', day),
  }
  return place
end

local function count(group)
  local base, number, at = group.base, group.number, place_of(group.source, group.minute)
  local more = tostring(number)
  local minutes = base .. at.minutes
  local live = try('BITFIELD', minutes, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', at.in_hour, more)
  if live and live[1] == number then expire_once(minutes, minutes_lifetime) end
  local created = try('BITFIELD', base .. at.counters, 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', CREATED_IN_DAY, more, 'INCRBY', 'u32', at.created, more, 'INCRBY', 'u32', at.live, more)
  if created and created[1] == number then register(base, at.day, group.source, count_lifetime) end
  if #group.users == 0 then return end
  local top = base .. at.top
  for i, user in ipairs(group.users) do
    index(base, group.digests[i], group.ids[i], rank(top, user))
  end
  sketch(base, at.day, group.source, group.users)
end

local groups = {}
for number = 1, group_count do
  local at = first_group + (number - 1) * GROUP_FIELDS
  groups[number] = { source = ARGV[at], minute = ARGV[at + 1], number = 0, users = {}, digests = {}, ids = {} }
end

local reply, stored = {}, {}
for i, key in ipairs(KEYS) do
  local at = first_session + (i - 1) * SESSION_FIELDS
  local value, user = ARGV[at + 1], ARGV[at + 2]
  if try('SET', key, value, 'EX', ttl, 'NX') then
    local group = groups[tonumber(ARGV[at])]
    group.base, group.number = base_of(key), group.number + 1
    if user ~= '' then
      local n = #group.users + 1
      group.users[n], group.digests[n], group.ids[n] = user, ARGV[at + 3], id_of(key)
    end
    reply[i], stored[#stored + 1] = 1, key
  else
    local held = try('GET', key)
    reply[i] = (held == value or held == ERASED) and 1 or 0
  end
end

local ok, failure = pcall(function()
  for _, group in ipairs(groups) do
    if group.number > 0 then count(group) end
  end
end)
if not ok then
  for _, key in ipairs(stored) do redis.pcall('DEL', key) end
  error(failure)
end
return reply
