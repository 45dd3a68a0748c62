-- For wrk: posts pictures and prints the result as one line of JSON.
--
-- wrk … -s bench/predict.lua URL -- unique|same form|body RUN PICTURE…
--
-- unique: each request's picture differs from all others by a tail behind the JPEG's last byte, which no
-- decoder looks at. RUN tells the tails of several runs apart. same: the first picture, always.
-- form: in a form. body: the picture is the body.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end

local boundary = "relance-bench"
local head = "--" .. boundary .. '\r\nContent-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'
  .. "Content-Type: image/jpeg\r\n\r\n"
local foot = "\r\n--" .. boundary .. "--\r\n"
local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. boundary }

local unique, run, pictures, sent

function init(args)
  unique, run, pictures, sent = args[1] == "unique", args[3], {}, 0
  if args[2] == "body" then
    head, foot, headers = "", "", { ["Content-Type"] = "image/jpeg" }
  end
  for n = 4, #args do
    local file = assert(io.open(args[n], "rb"))
    pictures[#pictures + 1] = file:read("*a")
    file:close()
  end
end

function request()
  sent = sent + 1
  local picture, tail = pictures[1], ""
  if unique then
    picture = pictures[sent % #pictures + 1]
    tail = string.format("%s-%d-%d", run, id, sent)
  end
  return wrk.format("POST", nil, headers, head .. picture .. tail .. foot)
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format(
    '{"seconds": %f, "requests": %d, "refused": %d, "broken": %d, "p50_ms": %f, "p99_ms": %f}',
    summary.duration / 1e6, summary.requests, errors.status, broken,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
