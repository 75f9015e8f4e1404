-- Ends sessions of a user and removes the user's id from the index and the top lists, in one atomic step: all of them,
-- unless they are so many that Redis would stand still; then the caller goes on from where this ends.
--
-- KEYS  the user's index
-- ARGV  user id, the user's digest, now in µs since the epoch, lifetime of counts in s, lifetime of the receipt in s,
--       a text that no other step has, where to go on in the index ('0' first), how many to visit
-- Returns { where to go on, '0' when nothing is left, how many sessions were ended }.
--
-- The receipt keeps the moment: a creation under way meanwhile, or repeated after a lost reply, belongs to a session
-- that began before it and stores nothing (see create.lua). So nothing older comes after the first step, and a later
-- step leaves alone what is younger. Repeatable: a retry finds its own receipt.

local user, digest, now_us, count_lifetime = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local receipt_ttl, token, cursor, limit = tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8])
local user_key = KEYS[1]
local base = string.sub(user_key, 1, -1 - #'user:' - #digest)
local receipt_key = base .. 'erased:' .. digest
local now = math.floor(tonumber(now_us) / 1000000)

local moment = now_us
local earlier = try('GET', receipt_key)
if type(earlier) == 'string' then
  local erased_us, left_off, erased, of = string.match(earlier, '^(%d+) (%d+) (%d+) (.*)$')
  if of == token then return { left_off, tonumber(erased) } end
  -- One that was asked for later may have come first; what it kept out stays out.
  if erased_us and tonumber(erased_us) > tonumber(now_us) then moment = erased_us end
end

local ids, next_cursor = page_of(user_key, cursor, limit)
try('DEL', receipt_key) -- before all else: a deletion may run when memory is full, and lets the rest run too
local erased = 0
for _, id in ipairs(ids) do
  local session = decode(try('GET', base .. id))
  if not session then
    try('HDEL', user_key, id)
  elseif session.user == user and (cursor == '0' or session.started <= now) then
    try('DEL', base .. id)
    count_end(base, session, now, count_lifetime)
    try('HDEL', user_key, id)
    erased = erased + 1
  end
end
for day = day_of(now) - MAX_DAYS, day_of(now) + 1 do try('ZREM', base .. 'top:' .. day, user) end
try('SET', receipt_key, table.concat({ moment, next_cursor, erased, token }, ' '), 'EX', receipt_ttl)
return { next_cursor, erased }
