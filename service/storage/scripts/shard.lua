-- Shared by the scripts of sessions: reading a session's value and keeping the counts that go with it.
-- Prepended to each of them, since a script cannot load another. Key names: see keyspace.py.

local DAY, HOUR, MINUTE = 86400, 3600, 60
local MAX_MICROSECONDS = 9007199254740992 -- 2^53, in the year 2255
local TOP_SCORE_UNIT = 67108864 -- 2^26: a score is count * 2^26 + error bound
local SESSION_ID_LENGTH = 36

-- What every key of the session's shard begins with.
local function base_of(session_key)
  return string.sub(session_key, 1, -1 - SESSION_ID_LENGTH)
end

local function id_of(session_key)
  return string.sub(session_key, -SESSION_ID_LENGTH)
end

-- A session's value as a table, or nil for anything that is not ours, by the same rules as in session_store.py.
local function decode(value)
  -- cjson accepts numbers that are not JSON, such as 0x10, and turns every number into a float.
  if type(value) ~= 'string' or not string.match(value, '^%s*%[%s*%d+%s*,%s*"') then return nil end
  local ok, fields = pcall(cjson.decode, value)
  if not ok or (#fields ~= 2 and #fields ~= 4) then return nil end
  local started, source, user, digest = unpack(fields)
  if started >= MAX_MICROSECONDS or type(source) ~= 'string' then return nil end
  if #fields == 4 and not (type(user) == 'string' and type(digest) == 'string') then return nil end
  return { started = math.floor(started / 1000000), source = source, user = user, digest = digest }
end

-- Where a moment, in seconds since the epoch, is counted.
local function minutes_key(base, moment) return base .. 'minutes:' .. math.floor(moment / HOUR) end
local function day_key(base, moment) return base .. 'day:' .. math.floor(moment / DAY) end
local function minute_field(moment, source) return math.floor(moment % HOUR / MINUTE) .. ' ' .. source end
local function day_field(moment, kind, source) return math.floor(moment % DAY / HOUR) .. kind .. source end

-- pcall throughout: a foreign value under the key of a count must not keep a session from being created or ended. It is
-- left alone, without a lifetime of ours.
local function is_done(reply) return type(reply) ~= 'table' or not reply.err end
local function expire_once(key, seconds) redis.pcall('EXPIRE', key, seconds, 'NX') end

-- Adds to a count; the hash gets a lifetime where one is given, unless it has one.
local function add(key, field, amount, lifetime)
  if is_done(redis.pcall('HINCRBY', key, field, amount)) and lifetime then expire_once(key, lifetime) end
end
