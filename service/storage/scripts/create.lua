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

local ttl, count_lifetime, minutes_lifetime = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local top_size, tomorrow, group_count = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local GROUP_FIELDS, SESSION_FIELDS = 2, 4
local first_group = 7
local first_session = first_group + group_count * GROUP_FIELDS

-- One creation in 8 looks at 24 random entries of the index: 3 per creation, so that at most a third of
-- a busy user's index are sessions that have expired. An order by expiry would cost 50 bytes a session.
local PRUNING_IDS, PRUNED_AT_ONCE = '[08]$', 24

local function index(base, digest, id)
  local key = index_key(base, digest)
  if not try('HSET', key, id, '') then return end -- foreign data
  -- The index outlives its last session, also after session.ttl_seconds was lowered.
  if not expire_once(key, ttl) then try('EXPIRE', key, ttl, 'GT') end
  if string.match(id, PRUNING_IDS) then
    local dead = {}
    for _, other in ipairs(try('HRANDFIELD', key, PRUNED_AT_ONCE)) do
      if try('EXISTS', base .. other) == 0 then dead[#dead + 1] = other end
    end
    if #dead > 0 then try('HDEL', key, unpack(dead)) end
  end
end

local function count_in(given) return math.floor(tonumber(given) / TOP_SCORE_UNIT) end
local function score(count, error_bound) return string.format('%.0f', count * TOP_SCORE_UNIT + error_bound) end

-- Space-Saving (Metwally et al. 2005): a newcomer to a full list takes over the least count and, as its
-- error bound, that same count. A user with more than (all sessions / top_size) is certain to be in the
-- list. The member '' keeps the greatest count that was ever given up. It bounds every user who is not in
-- the list, also after an erasure, and no member has a lower score.
local function rank(key, user)
  if try('ZADD', key, 'XX', 'INCR', TOP_SCORE_UNIT, user) then return end
  local size = try('ZCARD', key)
  if not size then return end -- foreign data
  local floor = size > top_size or (size > 0 and try('ZSCORE', key, '')) -- a list with '' may have one more
  if size - (floor and 1 or 0) >= top_size then
    local popped = try('ZPOPMIN', key, floor and 2 or 1)
    local given_up = count_in(popped[#popped])
    try('ZADD', key, score(given_up, 0), '', score(given_up + 1, given_up), user)
  else
    local given_up = floor and count_in(floor) or 0
    try('ZADD', key, score(given_up + 1, given_up), user)
  end
  if size == 0 then expire_once(key, count_lifetime) end
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

local function count(group)
  local base, source, at, number = group.base, group.source, group.minute * MINUTE, group.number
  local day = day_of(at)
  local minutes = minutes_key(base, hour_of(at), source)
  local live = try('BITFIELD', minutes, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', minute_at(at), number)
  if live and live[1] == number then expire_once(minutes, minutes_lifetime) end
  local created = try('BITFIELD', day_key(base, day, source), 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', CREATED_IN_DAY, number,
    'INCRBY', 'u32', hour_at(at, CREATED_IN_HOUR), number, 'INCRBY', 'u32', hour_at(at, LIVE_IN_HOUR), number)
  if created and created[1] == number then register(base, day, source, count_lifetime) end
  if #group.users == 0 then return end
  local top = top_key(base, day)
  for i, user in ipairs(group.users) do
    index(base, group.digests[i], group.ids[i])
    rank(top, user)
  end
  sketch(base, day, source, group.users)
end

local groups = {}
for number = 1, group_count do
  local at = first_group + (number - 1) * GROUP_FIELDS
  groups[number] = {
    source = ARGV[at], minute = tonumber(ARGV[at + 1]), number = 0, users = {}, digests = {}, ids = {},
  }
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
