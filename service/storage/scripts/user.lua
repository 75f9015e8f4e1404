-- What is known of one user: the live sessions, and what the top lists say of those created in a range of days.
--
-- KEYS  the user's index
-- ARGV  user id, the user's digest, first and last day of the range
-- Returns { sessions as id, value, id, value …, at least so many created, at most so many }.
--
-- Takes out of the index what has expired.

local user, first_day, last_day = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local index_key = KEYS[1]
local base = string.sub(index_key, 1, -1 - #'user:' - #ARGV[2])

local sessions = {}
local ids = redis.pcall('HKEYS', index_key)
for _, id in ipairs(ids.err and {} or ids) do
  local value = redis.pcall('GET', base .. id)
  if not value then
    redis.call('HDEL', index_key, id)
  elseif type(value) == 'string' then
    sessions[#sessions + 1] = id
    sessions[#sessions + 1] = value
  end
end

local at_least, at_most = 0, 0
for day = first_day, last_day do
  local key = base .. 'top:' .. day
  local score = redis.pcall('ZSCORE', key, user)
  if type(score) == 'string' then
    local count = math.floor(tonumber(score) / TOP_SCORE_UNIT)
    at_least = at_least + count - tonumber(score) % TOP_SCORE_UNIT
    at_most = at_most + count
  else
    local floor = redis.pcall('ZSCORE', key, '')
    if type(floor) == 'string' then at_most = at_most + math.floor(tonumber(floor) / TOP_SCORE_UNIT) end
  end
end
return { sessions, at_least, at_most }
