-- Shared by all scripts: key names, counters, and the one place where an error of Redis is ignored.
-- A script cannot load another, so this part is sent in front of each. Names and layouts: keyspace.py.

local DAY, HOUR, MINUTE = 86400, 3600, 60
local MAX_MICROSECONDS = 9007199254740992 -- 2^53, in the year 2255
local TOP_SCORE_UNIT = 67108864 -- 2^26: a score is count * 2^26 + error bound
local SESSION_ID_LENGTH = 36
local MAX_DAYS = 402 -- the longest retention that can be configured, and a day at either end
local ERASED = '-' -- replaces the value of a session that an erasure ended, see erase.lua

-- Positions of a day's counters in their string.
local CREATED_IN_DAY, ENDED_IN_DAY = '#0', '#1'
local CREATED_IN_HOUR, ENDED_IN_HOUR, LIVE_IN_HOUR = 2, 26, 50

-- Key names. `base` is the part that all keys of the shard begin with.
local function base_of(session_key) return string.sub(session_key, 1, -1 - SESSION_ID_LENGTH) end
local function id_of(session_key) return string.sub(session_key, -SESSION_ID_LENGTH) end
local function minutes_key(base, hour, source) return base .. 'minutes:' .. hour .. ':' .. source end
local function day_key(base, day, source) return base .. 'day:' .. day .. ':' .. source end
local function sources_key(base, day) return base .. 'sources:' .. day end
local function sketch_key(base, day, source) return base .. 'unique:' .. day .. ':' .. source end
local function unions_key(base, day) return base .. 'unions:' .. day end
local function top_key(base, day) return base .. 'top:' .. day end
local function index_key(base, digest) return base .. 'user:' .. digest end
local function erasing_key(base, digest) return base .. 'erasing:' .. digest end

-- Where a moment, in seconds since the epoch, is counted.
local function minute_at(moment) return '#' .. math.floor(moment % HOUR / MINUTE) end
local function hour_of(moment) return math.floor(moment / HOUR) end
local function day_of(moment) return math.floor(moment / DAY) end
local function hour_at(moment, first) return '#' .. first + math.floor(moment % DAY / HOUR) end

-- Runs a command. Foreign data under a key is the only error that is ignored: the reply is then nil.
-- Every other error ends the script and reaches the caller with the name of the command, because in a
-- script a missing permission arrives as a plain ERR that names nothing.
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local text = tostring(reply.err) -- fakeredis hands over an object
  if string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'INVALIDOBJ', 1, true) then return nil end
  error({ err = text .. ' (command: ' .. command .. ')' })
end

-- A source is part of key names. The rule is that of sessions.py.
local function is_source(text)
  return type(text) == 'string' and #text <= 64 and string.match(text, '^[%w._:/-]+$') ~= nil
end

-- Returns a session's value as a table, or nil for anything that is not ours, by the rules of session_value.py.
local function decode(value)
  -- cjson accepts numbers that are not JSON, such as 0x10 and 01, and turns every number into a float.
  local digits = type(value) == 'string' and string.match(value, '^%s*%[%s*(%d+)%s*,%s*"')
  if not digits or string.match(digits, '^0%d') then return nil end
  local ok, fields = pcall(cjson.decode, value)
  if not ok or (#fields ~= 2 and #fields ~= 4) then return nil end
  local started, source, user, digest = unpack(fields)
  if started >= MAX_MICROSECONDS or not is_source(source) then return nil end
  if #fields == 4 and not (type(user) == 'string' and type(digest) == 'string') then return nil end
  return { started = math.floor(started / 1000000), source = source, user = user, digest = digest }
end

-- Gives a key its lifetime under a condition of EXPIRE, and returns whether it did. A key that cannot get one does
-- not stay.
local function expire(key, seconds, condition)
  local ok, reply = pcall(try, 'EXPIRE', key, seconds, condition)
  if ok then return reply == 1 end
  if redis.pcall('TTL', key) == -1 then redis.pcall('DEL', key) end
  error(reply)
end

-- Gives a key its lifetime unless it has one, and returns whether it did.
local function expire_once(key, seconds) return expire(key, seconds, 'NX') end

-- Makes a day know a source, the first time that the source is counted on it.
local function register(base, day, source, lifetime)
  expire_once(day_key(base, day, source), lifetime)
  local sources = sources_key(base, day)
  if try('SADD', sources, source) == 1 then expire_once(sources, lifetime) end
end

-- Takes one session out of a counter. A counter that is gone stays gone: a new one would be wrong.
local function subtract(key, counter)
  if try('EXISTS', key) == 1 then try('BITFIELD', key, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', counter, -1) end
end

-- Takes a session that was just ended out of the counts of live sessions, and counts the end.
local function count_end(base, session, now, count_lifetime)
  local at, source, today = session.started, session.source, day_of(now)
  subtract(minutes_key(base, hour_of(at), source), minute_at(at))
  subtract(day_key(base, day_of(at), source), hour_at(at, LIVE_IN_HOUR))
  local ended = try('BITFIELD', day_key(base, today, source), 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', ENDED_IN_DAY, 1, 'INCRBY', 'u32', hour_at(now, ENDED_IN_HOUR), 1)
  if ended and ended[1] == 1 then register(base, today, source, count_lifetime) end
end
