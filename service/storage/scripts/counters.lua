-- Returns counters of one shard, all as of one moment. Reads only.
--
-- KEYS  the part that the shard's keys begin with
-- ARGV  number of sources, the sources, then for each row: the start of its keys, which a source
--       completes, and the first and last byte wanted of each
-- Returns for each row one string: the bytes of the first source, of the second, and so on. A key that
-- is missing, shorter or foreign counts as zeros.
--
-- The caller bounds the work: rows * sources reads, 2 µs each.

local source_count = tonumber(ARGV[1])
local ROW_FIELDS = 3

local rows = {}
for at = source_count + 2, #ARGV, ROW_FIELDS do
  local prefix, first, last = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local width, parts = last - first + 1, {}
  for i = 1, source_count do
    local part = try('GETRANGE', prefix .. ARGV[i + 1], first, last) or ''
    parts[i] = #part == width and part or part .. string.rep('\0', width - #part)
  end
  rows[#rows + 1] = table.concat(parts)
end
return rows
