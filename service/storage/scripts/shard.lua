-- Shared by the scripts of sessions: reading a session's value and keeping the counts that go with it.
-- Prepended to each of them, since a script cannot load another. Key names and layouts: see keyspace.py.

local DAY, HOUR, MINUTE = 86400, 3600, 60
local MAX_MICROSECONDS = 9007199254740992 -- 2^53, in the year 2255
local TOP_SCORE_UNIT = 67108864 -- 2^26: a score is count * 2^26 + error bound
local SESSION_ID_LENGTH = 36
local MAX_DAYS = 402 -- the longest retention that can be configured, and a day at either end

-- Where the counters of a day stand in their string.
local CREATED_IN_DAY, ENDED_IN_DAY = '#0', '#1'
local CREATED_IN_HOUR, ENDED_IN_HOUR, LIVE_IN_HOUR = 2, 26, 50

-- What every key of the session's shard begins with.
local function base_of(session_key)
  return string.sub(session_key, 1, -1 - SESSION_ID_LENGTH)
end

local function id_of(session_key)
  return string.sub(session_key, -SESSION_ID_LENGTH)
end

-- By the rule of sessions.py. A source is part of key names and goes through text in UTF-8.
local function is_source(text)
  return type(text) == 'string' and #text <= 64 and string.match(text, '^[%w._:/-]+$') ~= nil
end

-- A session's value as a table, or nil for anything that is not ours, by the same rules as in session_value.py.
local function decode(value)
  -- cjson accepts numbers that are not JSON, such as 0x10 and 01, and turns every number into a float.
  local digits = type(value) == 'string' and string.match(value, '^%s*%[%s*(%d+)%s*,%s*"')
  if not digits or string.match(digits, '^0%d') then return nil end
  local ok, fields = pcall(cjson.decode, value)
  if not ok or (#fields ~= 2 and #fields ~= 4) then return nil end
  local started, source, user, digest = unpack(fields)
  if started >= MAX_MICROSECONDS or not is_source(source) then return nil end
  if #fields == 4 and not (type(user) == 'string' and type(digest) == 'string') then return nil end
  return {
    microsecond = started, started = math.floor(started / 1000000), source = source, user = user, digest = digest,
  }
end

-- Where a moment, in seconds since the epoch, is counted.
local function minutes_key(base, moment, source) return base .. 'minutes:' .. math.floor(moment / HOUR) .. ':' .. source end
local function minute_at(moment) return '#' .. math.floor(moment % HOUR / MINUTE) end
local function day_key(base, day, source) return base .. 'day:' .. day .. ':' .. source end
local function day_of(moment) return math.floor(moment / DAY) end
local function hour_at(moment, first) return '#' .. first + math.floor(moment % DAY / HOUR) end

-- What is only read: foreign data is nothing (nil), but whatever else Redis refuses has to be told.
local function read(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) or string.find(reply.err, 'INVALIDOBJ', 1, true) then return nil end
  error(reply)
end

-- redis.pcall throughout: a foreign value under the key of a count must not keep a session from being created or ended.
-- It is left alone, without a lifetime of ours. An error reply is a table with `err`, and its [1] is nil.
-- The next ids of a user's index, at least `limit` if there are so many, and where to go on: '0' when nothing is left.
local function page_of(index_key, cursor, limit)
  local ids = {}
  repeat
    local page = read('HSCAN', index_key, cursor, 'COUNT', 500) or { '0', {} } -- Valkey may return seven times as many
    cursor = page[1]
    for i = 1, #page[2], 2 do ids[#ids + 1] = page[2][i] end
  until cursor == '0' or #ids >= limit
  return ids, cursor
end

local function expire_once(key, seconds) redis.pcall('EXPIRE', key, seconds, 'NX') end

-- Adds 1 or -1 to counters; they stop at zero and at 2^32 - 1. Returns the new values.
local function add(key, amount, ...)
  local command = { 'BITFIELD', key, 'OVERFLOW', 'SAT' }
  for _, counter in ipairs({ ... }) do
    local n = #command
    command[n + 1], command[n + 2], command[n + 3], command[n + 4] = 'INCRBY', 'u32', counter, amount
  end
  return redis.pcall(unpack(command))
end

-- The first time that a source is counted on a day, the day has to know it.
local function register(base, day, source, lifetime)
  expire_once(day_key(base, day, source), lifetime)
  local sources = base .. 'sources:' .. day
  if redis.pcall('SADD', sources, source) == 1 then expire_once(sources, lifetime) end
end

-- Only where the counters still stand: new ones would be without a lifetime.
local function subtract(key, counter)
  if redis.call('EXISTS', key) == 1 then add(key, -1, counter) end
end

-- Deletes a live session and takes it out of the counts. The deletion comes first because it may run when memory is
-- full and, being a write, lets the rest of a script run too.
local function retire(key, session, now, count_lifetime)
  redis.call('DEL', key)
  local base, at, source = base_of(key), session.started, session.source
  subtract(minutes_key(base, at, source), minute_at(at))
  subtract(day_key(base, day_of(at), source), hour_at(at, LIVE_IN_HOUR))
  local today = day_of(now)
  local ended = add(day_key(base, today, source), 1, ENDED_IN_DAY, hour_at(now, ENDED_IN_HOUR))
  if ended[1] == 1 then register(base, today, source, count_lifetime) end
end
