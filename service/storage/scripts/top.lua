-- The users of one shard with the most sessions created in a range of days, from the top lists of its days.
--
-- KEYS  what the shard's keys begin with
-- ARGV  first and last day of the range, how many users
-- Returns { user, at least, at most, user, at least, at most … }, most sessions that are certain first, and last how
-- many any other user has at most.

local base, first_day, last_day, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local at_least, above_floor, users, floors = {}, {}, {}, 0
for day = first_day, last_day do
  local list = try('ZRANGE', base .. 'top:' .. day, 0, -1, 'WITHSCORES') or {}
  local floor = list[1] == '' and math.floor(tonumber(list[2]) / TOP_SCORE_UNIT) or 0
  floors = floors + floor
  for i = floor > 0 and 3 or 1, #list, 2 do
    local user, score = list[i], tonumber(list[i + 1])
    local count = math.floor(score / TOP_SCORE_UNIT)
    if not at_least[user] then
      at_least[user], above_floor[user], users[#users + 1] = 0, 0, user
    end
    at_least[user] = at_least[user] + count - score % TOP_SCORE_UNIT
    above_floor[user] = above_floor[user] + count - floor
  end
end

-- On the days on which a user is in no list, the user may still have as many as that list's floor.
local function at_most(user) return above_floor[user] + floors end

table.sort(users, function(a, b)
  if at_least[a] ~= at_least[b] then return at_least[a] > at_least[b] end
  if above_floor[a] ~= above_floor[b] then return above_floor[a] > above_floor[b] end
  return a < b
end)
local found = {}
for i = 1, math.min(limit, #users) do
  local n = #found
  found[n + 1], found[n + 2], found[n + 3] = users[i], at_least[users[i]], at_most(users[i])
end
local others = floors
for i = limit + 1, #users do others = math.max(others, at_most(users[i])) end
found[#found + 1] = others
return found
