-- Returns how many sessions a user created in a range of days, according to the top
-- lists of one shard. Reads only.
--
-- KEYS  the base of the shard
-- ARGV  user id, first and last day of the range
-- Returns { lower bound, upper bound } of the number.

local base, user, first_day, last_day = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local at_least, at_most = 0, 0
for day = first_day, last_day do
  local key = top_key(base, day)
  local score = try('ZSCORE', key, user)
  if score then
    local count = math.floor(tonumber(score) / TOP_SCORE_UNIT)
    at_least = at_least + count - tonumber(score) % TOP_SCORE_UNIT
    at_most = at_most + count
  else
    local floor = try('ZSCORE', key, '')
    if floor then at_most = at_most + math.floor(tonumber(floor) / TOP_SCORE_UNIT) end
  end
end
return { at_least, at_most }
