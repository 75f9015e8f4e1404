-- Stores new sessions and counts each exactly once, in one atomic step.
--
-- KEYS  one session key each
-- ARGV  session ttl in s, lifetime of counts in s, members kept in a top list, then one value for each key
-- Returns for each key 1 when its session is stored, 0 when something else holds the key.
--
-- Repeatable: a retry after a lost reply finds its own values, answers 1 and counts nothing. A session of a user who
-- was erased after it began is erased already: it is answered 1 and not stored.

local ttl, count_lifetime, top_size = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local PRUNED_AT_ONCE = 3 -- so that at most a third of a busy user's index are sessions that have expired

-- Space-Saving (Metwally et al. 2005): a newcomer to a full list takes over the least count and, as its error bound,
-- that same count. Whoever has more than (all sessions / top_size) is certain to be in the list. The member '' keeps
-- the greatest count that was ever given up, which bounds whoever is not in the list, also after an erasure.
local function rank(base, session)
  local key = base .. 'top:' .. day_of(session.started)
  if redis.call('ZSCORE', key, session.user) then
    redis.call('ZINCRBY', key, string.format('%.0f', TOP_SCORE_UNIT), session.user)
    return
  end
  local floor = redis.call('ZSCORE', key, '')
  local others = floor and 1 or 0
  local count = floor and math.floor(tonumber(floor) / TOP_SCORE_UNIT) or 0
  if redis.call('ZCARD', key) - others >= top_size then
    local least = redis.call('ZRANGE', key, others, others, 'WITHSCORES')
    count = math.floor(tonumber(least[2]) / TOP_SCORE_UNIT)
    redis.call('ZREM', key, least[1])
    redis.call('ZADD', key, string.format('%.0f', count * TOP_SCORE_UNIT), '')
  end
  redis.call('ZADD', key, string.format('%.0f', (count + 1) * TOP_SCORE_UNIT + count), session.user)
  expire_once(key, count_lifetime)
end

-- What has expired is found by chance, a few at each creation: no order by expiry has to be kept, which would cost a
-- session 50 bytes more.
local function index(base, key, session)
  local index_key = base .. 'user:' .. session.digest
  redis.call('HSET', index_key, id_of(key), '')
  expire_once(index_key, ttl)
  if redis.call('HLEN', index_key) > 1 then
    redis.call('EXPIRE', index_key, ttl, 'GT') -- it outlives its last session even after the ttl was lowered
    for _, id in ipairs(redis.call('HRANDFIELD', index_key, PRUNED_AT_ONCE)) do
      if redis.call('EXISTS', base .. id) == 0 then redis.call('HDEL', index_key, id) end
    end
  end
end

-- Sketches whose number was worked out before (see report.lua) are a new one's now, in every range with this day.
local function sketch(base, session)
  local day = day_of(session.started)
  local key = base .. 'unique:' .. day .. ':' .. session.source
  if redis.pcall('PFADD', key, session.user) == 1 then
    expire_once(key, count_lifetime)
    local tomorrow = math.max(day, day_of(redis.call('TIME')[1])) + 1 -- where a service's clock may be already
    for last = math.max(day, tomorrow - MAX_DAYS), tomorrow do redis.pcall('DEL', base .. 'unions:' .. last) end
  end
end

local function count(key, session)
  local base, at, source = base_of(key), session.started, session.source
  local minutes, day = minutes_key(base, at, source), day_of(at)
  if add(minutes, 1, minute_at(at))[1] == 1 then expire_once(minutes, ttl + 2 * HOUR) end
  local hours = { hour_at(at, CREATED_IN_HOUR), hour_at(at, LIVE_IN_HOUR) }
  local created = add(day_key(base, day, source), 1, CREATED_IN_DAY, unpack(hours))
  if created[1] == 1 then register(base, day, source, count_lifetime) end
  if session.user then
    pcall(index, base, key, session)
    pcall(rank, base, session)
    sketch(base, session)
  end
end

local function is_erased(key, session)
  local receipt = redis.pcall('GET', base_of(key) .. 'erased:' .. session.digest)
  return type(receipt) == 'string' and session.microsecond <= tonumber(string.match(receipt, '^%d+') or 0)
end

local stored = {}
for i, key in ipairs(KEYS) do
  local value = ARGV[3 + i]
  local session = decode(value)
  if session.user and is_erased(key, session) then
    stored[i] = 1
  elseif redis.call('SET', key, value, 'EX', ttl, 'NX') then
    count(key, session)
    stored[i] = 1
  else
    stored[i] = redis.pcall('GET', key) == value and 1 or 0
  end
end
return stored
