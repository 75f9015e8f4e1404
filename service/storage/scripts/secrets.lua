-- Records the fingerprint of a secret. Returns the fingerprints of all secrets under
-- which sessions may live.
--
-- KEYS  the hash of fingerprints
-- ARGV  now (seconds since the epoch). To record a fingerprint, also the fingerprint
--       and the time in seconds for which sessions that are created under it may live.
--
-- The hash lives as long as its longest-lived fingerprint. Repeatable.

local key, now, fingerprint, lifetime = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local live, expired, expires_at = {}, {}, {}
local fields = try('HGETALL', key) or {}
for i = 1, #fields, 2 do
  local moment = tonumber(fields[i + 1]) or 0
  expires_at[fields[i]] = moment
  if moment > now then live[#live + 1] = fields[i] else expired[#expired + 1] = fields[i] end
end
if not fingerprint then return live end

if #expired > 0 then try('HDEL', key, unpack(expired)) end
if not expires_at[fingerprint] or expires_at[fingerprint] <= now then live[#live + 1] = fingerprint end
-- Sessions from before `session.ttl_seconds` was lowered keep their longer lifetime.
if try('HSET', key, fingerprint, math.max(now + lifetime, expires_at[fingerprint] or 0)) then
  if not expire_once(key, lifetime) then try('EXPIRE', key, lifetime, 'GT') end
end
return live
