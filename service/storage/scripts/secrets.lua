-- Returns the fingerprints of the secrets under which sessions of users may live, after recording one.
--
-- KEYS  the hash of fingerprints
-- ARGV  now in seconds since the epoch; to record a fingerprint also: the fingerprint, how long sessions
--       that are created under it may live, in s
--
-- The hash lives as long as its longest-lived fingerprint. Repeatable.

local key, now, fingerprint, lifetime = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local alive, expired, until_of = {}, {}, {}
local fields = try('HGETALL', key) or {}
for i = 1, #fields, 2 do
  local last = tonumber(fields[i + 1]) or 0
  until_of[fields[i]] = last
  if last > now then alive[#alive + 1] = fields[i] else expired[#expired + 1] = fields[i] end
end
if not fingerprint then return alive end

if #expired > 0 then try('HDEL', key, unpack(expired)) end
if not until_of[fingerprint] or until_of[fingerprint] <= now then alive[#alive + 1] = fingerprint end
-- A lifetime that was lowered does not shorten the life of earlier sessions.
if try('HSET', key, fingerprint, math.max(now + lifetime, until_of[fingerprint] or 0)) then
  if not expire_once(key, lifetime) then try('EXPIRE', key, lifetime, 'GT') end
end
return alive
