-- Counts the unique users of one shard by merging its sketches, a bounded number of them in each call.
--
-- KEYS  the part that the shard's keys begin with
-- ARGV  the query's token, lifetime of scratch keys and of remembered numbers (in s); then for each step:
--       number of its union, number of the union that it is part of (or ''), first and last day and source
--       of the union ('' for all sources), 1 for the union's first step (else ''), 1 for its last (else ''),
--       first and last day of the sketches, number of sources, these sources
-- Returns for each step the number of users in the union when it is the last, UNFINISHED when it is not,
-- FOREIGN when a sketch is foreign data. When a scratch key has expired it returns LOST for that step, as
-- the last element, and the query starts again with another token.
--
-- A union whose steps are spread over calls keeps its progress in `scratch:<token>:<number>`. The number is
-- remembered in `unions:<last day>` only when no sketch has changed since the first step: the first step
-- leaves a mark in that hash, create.lua deletes the hash with every mark when a sketch changes, and the
-- last step looks for the mark.
--
-- Repeatable: merging the same sketches again changes nothing, so a scratch key stays until the caller
-- deletes it, after the reply to the last step has arrived.

local base, token, scratch_lifetime, unions_lifetime = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local STEP_FIELDS = 10
local UNFINISHED, FOREIGN, LOST = -1, -2, -3

local function scratch_key(number) return base .. 'scratch:' .. token .. ':' .. number end
local function mark_of(step) return '?' .. token .. ' ' .. step.number end

local function read_step(at)
  local step = {
    number = ARGV[at], whole = ARGV[at + 1], first = ARGV[at + 2], last = ARGV[at + 3], source = ARGV[at + 4],
    begins = ARGV[at + 5] == '1', ends = ARGV[at + 6] == '1', sketches = {},
  }
  local sources_at, source_count = at + STEP_FIELDS, tonumber(ARGV[at + 9])
  for day = tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]) do
    for i = sources_at, sources_at + source_count - 1 do
      step.sketches[#step.sketches + 1] = sketch_key(base, day, ARGV[i])
    end
  end
  return step, sources_at + source_count
end

-- Merges sketches into a scratch key and renews its lifetime. Returns false for foreign data.
local function merge(scratch, sketches)
  if not try('PFMERGE', scratch, unpack(sketches)) then return false end
  if not expire_once(scratch, scratch_lifetime) then try('EXPIRE', scratch, scratch_lifetime) end
  return true
end

-- A zero is not remembered: it is cheap to find again, and any source may be asked for.
local function remember(step, count)
  if count == 0 then return end
  local unions = unions_key(base, step.last)
  local reply = redis.pcall('HSET', unions, step.first .. ' ' .. step.source, count)
  if type(reply) ~= 'table' then return expire_once(unions, unions_lifetime) end
  -- Reading counts works when Redis is full. Remembering them is not needed for it.
  local text = tostring(reply.err)
  if not string.find(text, 'OOM', 1, true) and not string.find(text, 'WRONGTYPE', 1, true) then
    error({ err = text .. ' (command: HSET)' })
  end
end

local function mark(step)
  local unions = unions_key(base, step.last)
  if try('HSET', unions, mark_of(step), '') then expire_once(unions, unions_lifetime) end
end

-- Counts a union whose sketches are all in this step. It needs no scratch key and no mark.
local function count_at_once(step)
  local count = try('PFCOUNT', unpack(step.sketches))
  if not count then return FOREIGN end
  remember(step, count)
  return count
end

local function count_scratch(step, scratch)
  local count = try('PFCOUNT', scratch)
  if not count then return FOREIGN end
  if try('HDEL', unions_key(base, step.last), mark_of(step)) == 1 then remember(step, count) end
  return count
end

local function run(step)
  if step.begins and step.ends and step.whole == '' then return count_at_once(step) end
  local scratch = scratch_key(step.number)
  if step.begins then
    mark(step)
  elseif try('EXISTS', scratch) == 0 then
    return LOST
  end
  if not merge(scratch, step.sketches) then return FOREIGN end
  if not step.ends then return UNFINISHED end
  if step.whole ~= '' then
    local whole = scratch_key(step.whole)
    if try('EXISTS', whole) == 0 then return LOST end
    if not merge(whole, { scratch }) then return FOREIGN end
  end
  return count_scratch(step, scratch)
end

local replies, is_foreign, at = {}, {}, 4
while at <= #ARGV do
  local step, next_at = read_step(at)
  local reply = is_foreign[step.number] and FOREIGN or run(step)
  replies[#replies + 1] = reply
  if reply == LOST then return replies end
  if reply == FOREIGN then is_foreign[step.number], is_foreign[step.whole] = true, true end
  at = next_at
end
return replies
