-- Returns counters of one shard, all as of the same moment. Reads only.
--
-- KEYS  the base of the shard
-- ARGV  number of sources, the sources. Then for each row: the start of its keys, and
--       the first and last byte of the counters. The name of a source completes a key.
-- Returns for each row one string: the bytes of the first source, of the second, and so
-- on. A key that is missing, too short or of another program counts as zeros.
--
-- Each row and source is one read of 2 µs. The caller bounds their number.

local source_count = tonumber(ARGV[1])
local ROW_FIELDS = 3

local rows = {}
for at = source_count + 2, #ARGV, ROW_FIELDS do
  local key_start, first, last = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local width, parts = last - first + 1, {}
  for i = 1, source_count do
    local part = try('GETRANGE', key_start .. ARGV[i + 1], first, last) or ''
    parts[i] = #part == width and part or part .. string.rep('\0', width - #part)
  end
  rows[#rows + 1] = table.concat(parts)
end
return rows
