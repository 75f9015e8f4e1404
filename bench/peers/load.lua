-- A script for wrk. Each argument is a file of ready requests with a NUL byte between
-- them. The files take turns, one request each. A request with a numbered user gets the
-- next number each time. The last line of the output has the figures as JSON.

local places, turn = {}, 0

local function open(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("*a")
  file:close()
  local head, number, tail = content:match('^(.*"user%-)(%d+)(.*)$')
  if number then
    return { head = head, number = tonumber(number), tail = tail }
  end
  local ready = {}
  for request in content:gmatch("[^%z]+") do
    ready[#ready + 1] = request
  end
  return { ready = ready, next = 0 }
end

function init(paths)
  local opened = {}
  for index, path in ipairs(paths) do
    opened[path] = opened[path] or open(path)
    places[index] = opened[path]
  end
end

function request()
  turn = turn % #places + 1
  local place = places[turn]
  if place.number then
    place.number = place.number + 1
    return place.head .. string.format("%09d", place.number) .. place.tail
  end
  place.next = place.next % #place.ready + 1
  return place.ready[place.next]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%f,"error_statuses":%d,"failures":%d,"p50_ms":%f,"p99_ms":%f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
