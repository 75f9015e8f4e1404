-- Functions that all scripts share: key names, counters, session values, commands.
--
-- script_files.py sends this file in front of each script, because a script cannot load
-- another. It also puts the value of each constant in place of its name. Names in
-- capitals that no script defines, such as DAY, are these constants. Moments and
-- lifetimes are in seconds, except where a name says otherwise.

-- Key names. `base` is the part that all keys of a shard begin with. Contents and
-- lifetimes: keyspace.py.
local function minutes_key(base, hour, source) return base .. 'minutes:' .. hour .. ':' .. source end
local function day_key(base, day, source) return base .. 'day:' .. day .. ':' .. source end
local function sources_key(base, day) return base .. 'sources:' .. day end
local function sketch_key(base, day, source) return base .. 'unique:' .. day .. ':' .. source end
local function unions_key(base, last_day) return base .. 'unions:' .. last_day end
local function scratch_key(base, token, number) return base .. 'scratch:' .. token .. ':' .. number end
local function top_key(base, day) return base .. 'top:' .. day end
local function index_key(base, digest) return base .. 'user:' .. digest end
local function erasing_key(base, digest) return base .. 'erasing:' .. digest end
local function receipt_key(base, token) return base .. 'erased:' .. token end
local function request_key(base, hash) return base .. 'request:' .. hash end

-- A session's key is the base and the session id.
local function base_of(session_key) return string.sub(session_key, 1, -1 - SESSION_ID_LENGTH) end
local function id_of(session_key) return string.sub(session_key, -SESSION_ID_LENGTH) end

-- The counters of a moment, as BITFIELD names them. Layout: counters.py.
local function day_of(moment) return math.floor(moment / DAY) end
local function hour_of(moment) return math.floor(moment / HOUR) end
local function minute_counter(moment) return '#' .. math.floor(moment % HOUR / MINUTE) end
local function hour_counter(moment, first) return '#' .. first + math.floor(moment % DAY / HOUR) end

-- The moment at which an end is counted. It is not before the start, although the clock
-- of the machine that created the session may be ahead. Otherwise the session would be
-- subtracted from the active ones of an hour that did not have it.
local function end_moment(started, now) return math.max(started, now) end

-- The counter of sessions ended on a day that were created on the same day as this one.
local function ended_counter(started, day)
  return day_of(started) < day and ENDED_OF_EARLIER_DAYS or ENDED_OF_DAY
end

-- Runs a command. Returns nil where another program's data is under the key, which is
-- the only error that is ignored. Every other error ends the script. It names the
-- command, because inside a script Redis reports a missing permission as a plain ERR
-- without it.
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local message = tostring(reply.err) -- fakeredis returns an object
  if string.find(message, 'WRONGTYPE', 1, true) or string.find(message, 'INVALIDOBJ', 1, true) then return nil end
  error({ err = message .. ' (command: ' .. command .. ')' })
end

-- Raises an error that pcall has caught. The code of the error has to be the first word
-- of the message, and pcall puts the place in the script before it.
local function raise_again(failure)
  error({ err = string.gsub(tostring(failure), '^[%w_]+:%d+: ', '') })
end

-- Runs a write that changes nothing, because the guard of a shard never exists. A full
-- Redis runs it, and after a first write it runs the rest of the script too.
local function begin_writes(base) try('DEL', base .. 'guard') end

-- Returns the keys of a batch's sessions. KEYS may only name one shard of a cluster, so
-- a script of several shards has the first key in KEYS and the others at the end of
-- ARGV. Redis checks only KEYS before it runs a script. So this function uses the guard
-- of each shard, which never exists. That fails while the shard moves.
local function session_keys(number)
  if #KEYS >= number then return KEYS end
  local keys, guarded = { KEYS[1] }, nil
  for i = #ARGV - number + 2, #ARGV do keys[#keys + 1] = ARGV[i] end
  for _, key in ipairs(keys) do
    local base = base_of(key)
    if base ~= guarded then try('EXISTS', base .. 'guard') end
    guarded = base
  end
  return keys
end

-- Returns a session's value as a table, or nil for any other value. The rules are those
-- of session_value.py.
local function decode(value)
  if type(value) ~= 'string' then return nil end
  if string.sub(value, 1, 1) == PENDING then value = string.match(value, '\n(.*)') or '' end
  -- cjson turns every number into a float, and accepts 0x10 and 01. JSON does not.
  local digits = string.match(value, '^%s*%[%s*(%d+)%s*,%s*"')
  if not digits or string.match(digits, '^0%d') then return nil end
  local ok, fields = pcall(cjson.decode, value)
  if not ok or #fields < 2 or #fields > 6 then return nil end
  local started_us, source, user, digest = unpack(fields)
  local has_user = type(user) == 'string'
  local numbers, changes = #fields - (has_user and 4 or 2), 0
  if numbers < 0 or numbers > 2 then return nil end
  if numbers > 0 then -- the lifetime, and the number of changes
    local pattern = ',%s*([1-9]%d*)%s*' .. (numbers == 2 and ',%s*([1-9]%d*)%s*' or '') .. '%]%s*$'
    local ttl, number = string.match(value, pattern)
    if not ttl or tonumber(ttl) > MAX_TTL_SECONDS then return nil end
    changes = tonumber(number or 0)
    if changes > MAX_USER_CHANGES then return nil end
  end
  if started_us >= MAX_EXACT_INTEGER or type(source) ~= 'string' then return nil end
  -- A source is a part of key names.
  if #source > MAX_SOURCE_LENGTH or not string.match(source, SOURCE_PATTERN) then return nil end
  if has_user and type(digest) ~= 'string' then return nil end
  return {
    started = math.floor(started_us / SECOND_US), source = source,
    user = has_user and user or nil, digest = has_user and digest or nil, changes = changes,
  }
end

-- Sets a key's lifetime under a condition of EXPIRE, and returns whether it was set.
-- When EXPIRE fails, a key without a lifetime is deleted, because every key has one.
local function expire(key, seconds, condition)
  local ok, reply = pcall(try, 'EXPIRE', key, seconds, condition)
  if ok then return reply == 1 end
  if redis.pcall('TTL', key) == -1 then redis.pcall('DEL', key) end
  raise_again(reply)
end

-- Sets a key's lifetime unless it has one, and returns whether it was set.
local function expire_once(key, seconds) return expire(key, seconds, 'NX') end

-- Lists a source among those of a day. Called when the day's first session of the
-- source is counted.
local function register(base, day, source, lifetime)
  expire_once(day_key(base, day, source), lifetime)
  local sources = sources_key(base, day)
  if try('SADD', sources, source) == 1 then expire_once(sources, lifetime) end
end

-- Subtracts one from a counter. An expired counter is not created again, because it
-- would begin at zero although other sessions are live.
local function subtract(key, counter)
  if try('EXISTS', key) == 1 then try('BITFIELD', key, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', counter, -1) end
end

-- Subtracts a session from the counts of live sessions.
local function subtract_live(base, session)
  local started, source = session.started, session.source
  subtract(minutes_key(base, hour_of(started), source), minute_counter(started))
  subtract(day_key(base, day_of(started), source), hour_counter(started, LIVE_IN_HOUR))
end

-- Counts the end of a session: one live session less, and one ended session more.
local function count_end(base, session, now, count_lifetime)
  local source, moment = session.source, end_moment(session.started, now)
  local day = day_of(moment)
  subtract_live(base, session)
  local ended = try('BITFIELD', day_key(base, day, source), 'OVERFLOW', 'SAT',
    'INCRBY', 'u32', ENDED_IN_DAY, 1, 'INCRBY', 'u32', hour_counter(moment, ENDED_IN_HOUR), 1,
    'INCRBY', 'u32', ended_counter(session.started, day), 1)
  if ended and ended[1] == 1 then register(base, day, source, count_lifetime) end
end
