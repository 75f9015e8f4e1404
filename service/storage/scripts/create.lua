-- Stores new sessions and counts each exactly once, in one atomic step.
--
-- KEYS  one session key each
-- ARGV  session ttl in s, lifetime of counts in s, members kept in a top list, then one value for each key
-- Returns for each key 1 when its session is stored, 0 when something else holds the key.
--
-- Repeatable: a retry after a lost reply finds its own values, answers 1 and counts nothing.

local ttl, count_ttl, top_size = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Space-Saving (Metwally et al. 2005): a newcomer to a full list takes over the least count and, as its error bound,
-- that same count. Whoever has more than (all sessions / top_size) is certain to be in the list.
local function rank(base, session)
  local key = base .. 'top:' .. math.floor(session.started / DAY)
  local amount = TOP_SCORE_UNIT
  if not redis.call('ZSCORE', key, session.user) and redis.call('ZCARD', key) >= top_size then
    local least = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local count = math.floor(tonumber(least[2]) / TOP_SCORE_UNIT)
    redis.call('ZREM', key, least[1])
    amount = (count + 1) * TOP_SCORE_UNIT + count
  end
  redis.call('ZINCRBY', key, string.format('%.0f', amount), session.user)
  expire_once(key, count_ttl)
end

local function index(base, key, session)
  local index_key = base .. 'user:' .. session.digest
  local now = tonumber(redis.call('TIME')[1])
  redis.call('ZREMRANGEBYSCORE', index_key, '-inf', now)
  redis.call('ZADD', index_key, now + ttl, id_of(key))
  -- NX for a new index, GT for an old one: it outlives its last session even after the ttl was lowered.
  expire_once(index_key, ttl)
  redis.call('EXPIRE', index_key, ttl, 'GT')
end

local function count(key, session)
  local base, at, source = base_of(key), session.started, session.source
  add(minutes_key(base, at), minute_field(at, source), 1, ttl + 2 * HOUR)
  add(day_key(base, at), day_field(at, 'c', source), 1, count_ttl)
  add(day_key(base, at), day_field(at, 'l', source), 1)
  if session.user then
    pcall(index, base, key, session)
    pcall(rank, base, session)
    local unique = base .. 'unique:' .. math.floor(at / DAY) .. ':' .. source
    if is_done(redis.pcall('PFADD', unique, session.user)) then expire_once(unique, count_ttl) end
  end
end

local stored = {}
for i, key in ipairs(KEYS) do
  local value = ARGV[3 + i]
  if redis.call('SET', key, value, 'EX', ttl, 'NX') then
    count(key, decode(value))
    stored[i] = 1
  else
    stored[i] = redis.pcall('GET', key) == value and 1 or 0
  end
end
return stored
