-- Counts unique users of one shard by merging a bounded number of its sketches.
--
-- KEYS  the base of the shard
-- ARGV  the query's token, lifetimes of scratch keys and of remembered numbers.
--       Then for each step: number of its union, number of the union that contains it
--       (or ''), first and last day and source of the union ('' for all sources).
--       These follow: '1' for the union's first step (or ''), '1' for its last (or ''),
--       first and last day of the sketches, number of sources, these sources.
-- Returns for each step the number of users in the union after its last step, and
-- before that UNION_UNFINISHED. UNION_FOREIGN means that the key of a sketch has
-- another program's data. When a scratch key has expired, the reply to that step is
-- UNION_LOST and is the last element. The query then starts again with another token.
--
-- A union whose steps are in several calls keeps its progress in a scratch key. Its
-- number is remembered in `unions:<last day>` only when no sketch has changed since the
-- first step. The first step writes a mark to that hash, create.lua deletes the hash
-- when a sketch changes, and the last step looks for the mark.
--
-- Repeatable: merging the same sketches again changes nothing. So a scratch key stays
-- until the caller has the reply to the last step and deletes it.

local base, token, scratch_lifetime, unions_lifetime = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local FIRST_STEP, STEP_FIELDS = 4, 10

local function mark_of(step) return '?' .. token .. ' ' .. step.number end

-- Returns the step at a position of ARGV, and the position of the next one.
local function read_step(at)
  local step = {
    number = ARGV[at], whole = ARGV[at + 1], first = ARGV[at + 2], last = ARGV[at + 3], source = ARGV[at + 4],
    is_first = ARGV[at + 5] == '1', is_last = ARGV[at + 6] == '1', sketches = {},
  }
  local sources_at, source_count = at + STEP_FIELDS, tonumber(ARGV[at + 9])
  for day = tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]) do
    for i = sources_at, sources_at + source_count - 1 do
      step.sketches[#step.sketches + 1] = sketch_key(base, day, ARGV[i])
    end
  end
  return step, sources_at + source_count
end

-- Merges sketches into a scratch key and renews its lifetime. Returns false when one of
-- them is another program's data.
local function merge(scratch, sketches)
  if not try('PFMERGE', scratch, unpack(sketches)) then return false end
  if not expire_once(scratch, scratch_lifetime) then try('EXPIRE', scratch, scratch_lifetime) end
  return true
end

-- Zero is not remembered. It is cheap to count, and a client may name any source, so
-- the hash would grow without a bound.
local function remember(step, count)
  if count == 0 then return end
  local unions = unions_key(base, step.last)
  local reply = redis.pcall('HSET', unions, step.first .. ' ' .. step.source, count)
  if type(reply) ~= 'table' then return expire_once(unions, unions_lifetime) end
  -- A full Redis can still count. It only cannot remember the number.
  local message = tostring(reply.err)
  if not string.find(message, 'OOM', 1, true) and not string.find(message, 'WRONGTYPE', 1, true) then
    error({ err = message .. ' (command: HSET)' })
  end
end

local function mark(step)
  local unions = unions_key(base, step.last)
  if try('HSET', unions, mark_of(step), '') then expire_once(unions, unions_lifetime) end
end

-- Counts a union that is one step. It needs no scratch key and no mark.
local function count_at_once(step)
  local count = try('PFCOUNT', unpack(step.sketches))
  if not count then return UNION_FOREIGN end
  remember(step, count)
  return count
end

local function count_scratch(step, scratch)
  local count = try('PFCOUNT', scratch)
  if not count then return UNION_FOREIGN end
  if try('HDEL', unions_key(base, step.last), mark_of(step)) == 1 then remember(step, count) end
  return count
end

local function run(step)
  if step.is_first and step.is_last and step.whole == '' then return count_at_once(step) end
  local scratch = scratch_key(base, token, step.number)
  if step.is_first then
    mark(step)
  elseif try('EXISTS', scratch) == 0 then
    return UNION_LOST
  end
  if not merge(scratch, step.sketches) then return UNION_FOREIGN end
  if not step.is_last then return UNION_UNFINISHED end
  if step.whole ~= '' then
    local whole = scratch_key(base, token, step.whole)
    if try('EXISTS', whole) == 0 then return UNION_LOST end
    if not merge(whole, { scratch }) then return UNION_FOREIGN end
  end
  return count_scratch(step, scratch)
end

local replies, is_foreign, at = {}, {}, FIRST_STEP
while at <= #ARGV do
  local step, next_at = read_step(at)
  local reply = is_foreign[step.number] and UNION_FOREIGN or run(step)
  replies[#replies + 1] = reply
  if reply == UNION_LOST then return replies end
  if reply == UNION_FOREIGN then is_foreign[step.number], is_foreign[step.whole] = true, true end
  at = next_at
end
return replies
