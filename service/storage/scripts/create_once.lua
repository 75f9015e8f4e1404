-- Stores and counts new sessions. A request whose idempotency key has created a session
-- before gets that one instead.
--
-- KEYS  one session key each. Other keys may follow. See session_keys in shard.lua for
--       several shards of a cluster.
-- ARGV  the five of creating.lua, number of sessions.
--       For each: hash of the request, source, minute of the start (minutes since the
--       epoch), value, user id and user digest. The last two are empty for a guest.
-- Returns for each { id, value } of the session, or { id, '' } when it is not live any
-- more.
--
-- Neighbors with the same shard, source and minute are a group. A group writes its
-- counters once.
-- Repeatable: after a lost reply the script finds the ids and returns the same. When
-- counting a group fails, the script deletes the sessions of this group and their
-- remembered ids. Earlier groups stay stored and counted. A repetition of the batch
-- finds them, as after a lost reply.

local session_count = tonumber(ARGV[6])
local keys = session_keys(session_count)
local FIRST, FIELDS = 7, 6

local reply = {}
local group -- of the sessions that are not counted yet
local stored = {} -- their keys, and those of their requests

local function count_group()
  if group then count(group) end
  group, stored = nil, {}
end

local function store(i, base, id, remembered_key, source, minute, value, user, digest)
  if group and (group.base ~= base or group.source ~= source or group.minute ~= minute) then count_group() end
  -- Another program's data under the key of the request stays, and nothing remembers
  -- the session. A repetition then finds the session by its id.
  if try('SET', remembered_key, id, 'EX', ttl, 'NX') then stored[#stored + 1] = remembered_key end
  if not try('SET', keys[i], value, 'EX', ttl, 'NX') then
    if try('GET', keys[i]) ~= value then error('ERR the id of a new session is taken') end
    reply[i] = { id, value }
    return
  end
  stored[#stored + 1] = keys[i]
  group = group or {
    base = base, source = source, minute = minute, number = 0, users = {}, digests = {}, ids = {},
  }
  group.number = group.number + 1
  if user ~= '' then
    local n = #group.users + 1
    group.users[n], group.digests[n], group.ids[n] = user, digest, id
  end
  reply[i] = { id, value }
end

local function create_all()
  for i = 1, session_count do
    local field = FIRST + (i - 1) * FIELDS
    local base, id = base_of(keys[i]), id_of(keys[i])
    local remembered_key = request_key(base, ARGV[field])
    local remembered = try('GET', remembered_key)
    if remembered then
      local present = try('GET', base .. remembered)
      reply[i] = { remembered, decode(present) and present or '' }
    else
      store(i, base, id, remembered_key, unpack(ARGV, field + 1, field + FIELDS - 1))
    end
  end
  count_group()
end

local ok, failure = pcall(create_all)
if not ok then
  if #stored > 0 then redis.pcall('DEL', unpack(stored)) end
  raise_again(failure)
end
return reply
