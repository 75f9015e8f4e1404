-- Returns a page of the live sessions in an index of a user.
--
-- KEYS  the base of the shard
-- ARGV  the index's name without the base, cursor ('0' at first), number of sessions to
--       visit
-- Returns { next cursor, '0' at the end, sessions as id, value, id, value, … }. A
--       session may be in two pages of an index.
--
-- Removes expired sessions from the index.

local base, index, cursor, limit = KEYS[1], KEYS[1] .. ARGV[1], ARGV[2], tonumber(ARGV[3])

-- COUNT is a hint: Valkey may return seven times as many ids, and a sparse part of a
-- large index returns none. So the number of scans is bounded too.
local SCAN_COUNT, MAX_SCANS = 100, 32

local ids, keys, scans = {}, {}, 0
repeat
  local page = try('HSCAN', index, cursor, 'COUNT', SCAN_COUNT) or { '0', {} }
  cursor, scans = page[1], scans + 1
  for i = 1, #page[2], 2 do
    ids[#ids + 1], keys[#keys + 1] = page[2][i], base .. page[2][i]
  end
until cursor == '0' or #ids >= limit or scans == MAX_SCANS
if #ids == 0 then return { cursor, {} } end

local sessions, expired = {}, {}
for i, value in ipairs(try('MGET', unpack(keys))) do
  if value then
    sessions[#sessions + 1] = ids[i]
    sessions[#sessions + 1] = value
  elseif try('EXISTS', keys[i]) == 0 then
    -- MGET also returns nil for a key of another type, which EXISTS finds.
    expired[#expired + 1] = ids[i]
  end
end
if #expired > 0 then try('HDEL', index, unpack(expired)) end
return { cursor, sessions }
