-- What is known of one user: the live sessions, and what the top lists say of those created in a range of days.
--
-- KEYS  the user's index
-- ARGV  user id, the user's digest, first and last day of the range, where to go on in the index ('0' first), how many
--       to visit
-- Returns { where to go on, '0' when nothing is left, sessions as id, value, id, value …, at least so many created,
-- at most so many }. A session may come twice when there is more than one page.
--
-- Takes out of the index what has expired.

local user, first_day, last_day, cursor, limit = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local user_key = KEYS[1]
local base = string.sub(user_key, 1, -1 - #'user:' - #ARGV[2])

local sessions = {}
local ids, next_cursor = page_of(user_key, cursor, limit)
for _, id in ipairs(ids) do
  local value = try('GET', base .. id)
  if value == false then
    try('HDEL', user_key, id) -- refused where Redis may only be read
  elseif value then
    sessions[#sessions + 1] = id
    sessions[#sessions + 1] = value
  end
end

local at_least, at_most = 0, 0
for day = first_day, last_day do
  local key = base .. 'top:' .. day
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
return { next_cursor, sessions, at_least, at_most }
