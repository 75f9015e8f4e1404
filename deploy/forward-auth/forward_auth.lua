-- The action `forward_auth` for HAProxy asks Jay about the visitor's session. It
-- replaces the request's headers X-Jay-… and baggage with those of the answer. It never
-- denies.

local PATH = '/v1/playouts/tracking/forward-auth/'
local HEX = '[0-9a-fA-F]'
local ID = string.rep(HEX, 8) .. string.rep('%-' .. string.rep(HEX, 4), 3) .. '%-' .. string.rep(HEX, 12)
local NAMES = {
  'X-Jay-Session', 'X-Jay-Session-Ref', 'X-Jay-Session-Expires', 'X-Jay-Source', 'X-Jay-Session-Id', 'X-Jay-User-Id',
}
local MAX_IDS = 8
local MS = 100

-- Calls `use` with each line of a header. HAProxy counts them from 0.
local function each_line(headers, name, use)
  local lines = headers[name] or {}
  for i = 0, #lines do
    if lines[i] then use(lines[i]) end
  end
end

-- Returns the session ids of a request in the order in which Jay tries them. Jay gets
-- nothing else of these headers, so a long header cannot fail the question.
local function ids_in(headers)
  local ids = {}
  local function add(id) if #ids < MAX_IDS then ids[#ids + 1] = id end end
  each_line(headers, 'cookie', function(line)
    for id in string.gmatch(';' .. line, '[;,][ \t]*__Secure%-jay_tracking=(' .. ID .. ')%f[^%w%-]') do add(id) end
  end)
  for _, name in ipairs({ '__secure-jay_tracking', 'x-jay-tracking' }) do
    each_line(headers, name, function(line)
      for id in string.gmatch(line, '%f[%w%-](' .. ID .. ')%f[^%w%-]') do add(id) end
    end)
  end
  return ids
end

-- Returns the answer's headers, or nil when Jay did not answer in time.
local function ask(ids, baggage)
  local headers = { ['X-Jay-Tracking'] = { table.concat(ids, ', ') } }
  if #baggage > 0 then headers['baggage'] = baggage end
  local answer = core.httpclient():get({
    url = 'http://' .. os.getenv('JAY_QUESTIONS') .. PATH .. table.concat(ids, ','), headers = headers, timeout = MS,
  })
  return answer and answer.status == 200 and answer.headers or nil
end

core.register_action('forward_auth', { 'http-req' }, function(txn)
  local headers, baggage = txn.http:req_get_headers(), {}
  each_line(headers, 'baggage', function(line) baggage[#baggage + 1] = line end)
  local answer = ask(ids_in(headers), baggage)
  -- Many frameworks read X_Jay_User_Id and X.Jay.User.Id as X-Jay-User-Id, so these are
  -- removed too. The session token X-Jay-Tracking stays.
  for name in pairs(headers) do
    local plain = string.gsub(name, '%W', '-')
    if string.find(plain, '^x%-jay%-') and plain ~= 'x-jay-tracking' then txn.http:req_del_header(name) end
  end
  txn.http:req_del_header('baggage')
  if not answer then
    txn.http:req_set_header('X-Jay-Session', 'unknown')
    return
  end
  for _, name in ipairs(NAMES) do
    each_line(answer, string.lower(name), function(value) txn.http:req_set_header(name, value) end)
  end
  each_line(answer, 'baggage', function(value)
    if value ~= '' then txn.http:req_set_header('baggage', value) end
  end)
  each_line(answer, 'x-jay-session-ref', function(value) txn:set_var('txn.jay_ref', value) end)
end, 0)
