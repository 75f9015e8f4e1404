-- Ends all sessions of a user and removes the user's id from the index and the top lists, in one atomic step.
--
-- KEYS  the user's index
-- ARGV  user id, the user's digest, now in µs since the epoch, lifetime of counts in s, lifetime of the receipt in s,
--       a text that no other erasure has
-- Returns how many sessions were ended.
--
-- The receipt keeps the moment: a creation under way meanwhile, or repeated after a lost reply, belongs to a session
-- that began before it and stores nothing (see create.lua). Repeatable: a retry finds its own receipt.

local user, digest, now_us, count_lifetime = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local receipt_ttl, token = tonumber(ARGV[5]), ARGV[6]
local index_key = KEYS[1]
local base = string.sub(index_key, 1, -1 - #'user:' - #digest)
local receipt_key = base .. 'erased:' .. digest
local now = math.floor(tonumber(now_us) / 1000000)

local moment = now_us
local earlier = redis.pcall('GET', receipt_key)
if type(earlier) == 'string' then
  local erased_us, erased, of = string.match(earlier, '^(%d+) (%d+) (.*)$')
  if of == token then return tonumber(erased) end
  -- One that was asked for later may have come first; what it kept out stays out.
  if erased_us and tonumber(erased_us) > tonumber(now_us) then moment = erased_us end
end

local ids = redis.pcall('HKEYS', index_key)
if ids.err then ids = {} else redis.call('DEL', index_key) end
local erased = 0
for _, id in ipairs(ids) do
  local session = decode(redis.pcall('GET', base .. id))
  if session and session.user == user then
    retire(base .. id, session, now, count_lifetime)
    erased = erased + 1
  end
end
for day = day_of(now) - MAX_DAYS, day_of(now) + 1 do redis.pcall('ZREM', base .. 'top:' .. day, user) end
redis.call('SET', receipt_key, moment .. ' ' .. erased .. ' ' .. token, 'EX', receipt_ttl)
return erased
