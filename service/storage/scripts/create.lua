-- Stores new sessions and counts each of them once, in one atomic step.
--
-- KEYS  one session key each, in the order of their groups. Other keys may follow.
--       See session_keys in shard.lua for several shards of a cluster.
-- ARGV  the five of creating.lua, number of sessions, number of groups.
--       For each group: source, minute of the start (minutes since the epoch), number
--       of sessions, number of those with a user. Sessions with a user come first.
--       For each key: its value.
--       For each key of a session with a user: user id and user digest.
-- Returns for each key 1 when its session is stored, 0 when the key has another value.
--
-- The sessions of a batch that share a shard, a source and a minute are a group. A
-- group writes its counters once.
-- Repeatable: after a lost reply the script finds the values that it stored, returns 1
-- and counts nothing. A session that an erasure ended in between is not stored again.
-- When counting a group fails, the script deletes the sessions of this group. Earlier
-- groups stay stored and counted. A repetition of the batch finds them, as after a lost
-- reply.

local session_count, group_count = tonumber(ARGV[6]), tonumber(ARGV[7])
local keys = session_keys(session_count)
local FIRST_GROUP, GROUP_FIELDS, USER_FIELDS = 8, 4, 2
local first_value = FIRST_GROUP + group_count * GROUP_FIELDS

local reply = {}
local stored = {} -- keys of the sessions that are not counted yet

-- Stores the session of a key unless it has another value. Returns whether the session
-- is a new one.
local function store(i)
  local key, value = keys[i], ARGV[first_value + i - 1]
  if try('SET', key, value, 'EX', ttl, 'NX') then
    reply[i], stored[#stored + 1] = 1, key
    return true
  end
  local present = try('GET', key)
  reply[i] = (present == value or present == ERASED) and 1 or 0
  return false
end

local function create_all()
  local first_key, user_field = 1, first_value + session_count
  for field = FIRST_GROUP, first_value - 1, GROUP_FIELDS do
    local last_key = first_key + ARGV[field + 2] - 1
    local last_of_users = first_key + ARGV[field + 3] - 1
    local group = {
      base = base_of(keys[first_key]), source = ARGV[field], minute = ARGV[field + 1],
      number = 0, users = {}, digests = {}, ids = {},
    }
    for i = first_key, last_key do
      local is_new, of_user = store(i), i <= last_of_users
      if is_new then group.number = group.number + 1 end
      if is_new and of_user then
        local n = #group.users + 1
        group.users[n], group.digests[n], group.ids[n] = ARGV[user_field], ARGV[user_field + 1], id_of(keys[i])
      end
      if of_user then user_field = user_field + USER_FIELDS end
    end
    if group.number > 0 then count(group) end
    stored = {}
    first_key = last_key + 1
  end
end

local ok, failure = pcall(create_all)
if not ok then
  for _, key in ipairs(stored) do redis.pcall('DEL', key) end
  raise_again(failure)
end
return reply
