-- The counts of one shard in a range of days, as of one moment. Reads only, but for the memory of its own below.
--
-- KEYS  what the shard's keys begin with
-- ARGV  first and last day of the range; first and last byte of what is wanted of each day's counters; the first and
--       last day, and the hour, from which on sessions may be live; 1 when unique users are wanted for each day too;
--       a source, or '' for all
-- Returns { unique users of all sources, { unique users of each day }, { source, counters of its days, live counters
-- of its days, live counters of the minutes of the first hour, unique users } … }. Counters as they are stored, one
-- day after the other, zeros where nothing is. A number of unique users is -1 when it cannot be told.

local base = KEYS[1]
local range = { tonumber(ARGV[1]), tonumber(ARGV[2]) }
local wanted = { tonumber(ARGV[3]), tonumber(ARGV[4]) }
local live_days, first_live_hour = { tonumber(ARGV[5]), tonumber(ARGV[6]) }, tonumber(ARGV[7])
local by_day, only = ARGV[8] == '1', ARGV[9]

local LIVE_BYTES, MINUTES_BYTES = { LIVE_IN_HOUR * 4, LIVE_IN_HOUR * 4 + 95 }, { 0, 239 }
local UNIONS_LIFETIME = HOUR
local MAX_MERGED = 1000 -- sketches in one command; Lua cannot pass more than 8,000

local function slice(key, bytes)
  local part = try('GETRANGE', key, bytes[1], bytes[2]) or ''
  return part .. string.rep('\0', bytes[2] - bytes[1] + 1 - #part)
end

local function slices(source, days, bytes)
  local parts = {}
  for day = days[1], days[2] do
    parts[#parts + 1] = slice(day_key(base, day, source), bytes)
  end
  return table.concat(parts)
end

local function sources_of(...)
  local seen, names = {}, {}
  for _, days in ipairs({ ... }) do
    for day = days[1], days[2] do
      for _, source in ipairs(try('SMEMBERS', base .. 'sources:' .. day) or {}) do
        if is_source(source) and not seen[source] then seen[source], names[#names + 1] = true, source end
      end
    end
  end
  return names
end

local function merged(sources, first, last)
  local keys = {}
  for day = first, last do
    for _, source in ipairs(sources) do keys[#keys + 1] = base .. 'unique:' .. day .. ':' .. source end
  end
  if #keys == 0 then return 0 end
  if #keys <= MAX_MERGED then return try('PFCOUNT', unpack(keys)) end
  local scratch, is_merged = base .. 'unions:scratch', true
  for i = 1, #keys, MAX_MERGED do
    is_merged = is_merged and try('PFMERGE', scratch, unpack(keys, i, math.min(i + MAX_MERGED - 1, #keys)))
  end
  local count = is_merged and try('PFCOUNT', scratch)
  try('DEL', scratch)
  return count
end

-- Merging 90 days of five sources takes 2 to 17 ms, and asked they are every second. So the number is remembered
-- until create.lua changes a sketch on or before the range's last day. `name` is a source, or '' for all.
local function unique(sources, first, last, name)
  local unions, field = base .. 'unions:' .. last, first .. ' ' .. name
  local known = try('HGET', unions, field)
  if known then return tonumber(known) end
  local count = merged(sources, first, last)
  if not count then return -1 end -- foreign data under one of them
  -- Nothing is cheap to find out again, and any source may be asked for.
  if count > 0 and try('HSET', unions, field, count) == 1 then expire_once(unions, UNIONS_LIFETIME) end
  return count
end

local sources = only ~= '' and { only } or sources_of(range, live_days)
local reply = { unique(sources, range[1], range[2], only), {} }
if by_day then
  for day = range[1], range[2] do table.insert(reply[2], unique(sources, day, day, only)) end
end
for _, source in ipairs(sources) do
  table.insert(reply, {
    source,
    slices(source, range, wanted),
    slices(source, live_days, LIVE_BYTES),
    slice(minutes_key(base, first_live_hour, source), MINUTES_BYTES),
    #sources == 1 and reply[1] or unique({ source }, range[1], range[2], source),
  })
end
return reply
