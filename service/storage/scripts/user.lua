-- A page of the live sessions in an index of a user.
--
-- KEYS  the part that the shard's keys begin with
-- ARGV  rest of the index's name, where to go on ('0' first), number of sessions to visit
-- Returns { where to go on, '0' at the end, sessions as id, value, id, value, … }. A session may come
--       twice when there is more than one page.
--
-- Takes sessions that have expired out of the index.

local base, index, cursor, limit = KEYS[1], KEYS[1] .. ARGV[1], ARGV[2], tonumber(ARGV[3])

-- Valkey may return seven times as many ids as asked for. Empty places of a large index return none.
local SCANNED_AT_ONCE, MOST_SCANS = 100, 32

local ids, keys, scans = {}, {}, 0
repeat
  local page = try('HSCAN', index, cursor, 'COUNT', SCANNED_AT_ONCE) or { '0', {} }
  cursor, scans = page[1], scans + 1
  for i = 1, #page[2], 2 do
    ids[#ids + 1], keys[#keys + 1] = page[2][i], base .. page[2][i]
  end
until cursor == '0' or #ids >= limit or scans == MOST_SCANS
if #ids == 0 then return { cursor, {} } end

local sessions, expired = {}, {}
for i, value in ipairs(try('MGET', unpack(keys))) do
  if value then
    sessions[#sessions + 1] = ids[i]
    sessions[#sessions + 1] = value
  elseif try('EXISTS', keys[i]) == 0 then -- else foreign data
    expired[#expired + 1] = ids[i]
  end
end
if #expired > 0 then try('HDEL', index, unpack(expired)) end
return { cursor, sessions }
