-- The circuit that all workers share. Each operation is one atomic step, so that one call alone
-- gets the trial, and what comes late (from before the last change) changes nothing.
--
-- KEYS  circuit, window, changes (see docs/breaker.md for their shapes)
-- ARGV  operation, now (seconds; empty: this server's clock), argument (JSON)

local circuit, window, changes = unpack(KEYS)
local arg = cjson.decode(ARGV[3])

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function field(name)
  return redis.call('HGET', circuit, name)
end

local function number(name)
  return tonumber(field(name) or 0)
end

local function moment(seconds)
  return string.format('%.6f', seconds)
end

-- Seconds until the circuit is half-open; nil where it is closed.
local function wait()
  if field('state') ~= 'open' then
    return nil
  end
  return field('held') and math.huge or number('half_open_at') - now
end

local function state()
  local left = wait()
  if not left then
    return 'closed'
  end
  return left > 0 and 'open' or 'half-open'
end

local function is_on_trial()
  return number('trial_until') > now
end

-- The trial that nobody else has been given since; it may be the first to report, or late.
local function is_current()
  if arg.generation ~= number('generation') then
    return false
  end
  return not arg.trial or (arg.trial == number('trial') and field('trial_until'))
end

local function change(to)
  local from = state()
  redis.call('HDEL', circuit, 'half_open_at', 'held', 'trial_until')
  redis.call('HSET', circuit, 'state', to, 'since', moment(now), 'reason', arg.reason,
    'generation', number('generation') + 1, 'in_row', 0)
  redis.call('HINCRBY', circuit, to == 'open' and 'opened' or 'closed', 1)
  redis.call('DEL', window)
  local entry = {at = now, from = from, to = to, reason = arg.reason, by = arg.by}
  redis.call('LPUSH', changes, cjson.encode(entry))
  redis.call('LTRIM', changes, 0, arg.keep - 1)
end

-- Sums of the window's parts; those that it has left behind are cleared on the way.
local function sums(part)
  local calls, failed = 0, 0
  local flat = redis.call('HGETALL', window)
  for position = 1, #flat, 2 do
    local name, count = flat[position], tonumber(flat[position + 1])
    local of, kind = string.match(name, '^(%d+):(%a+)$')
    of = tonumber(of)
    if not of or of <= part - arg.parts or of > part then
      redis.call('HDEL', window, name)
    elseif kind == 'calls' then
      calls = calls + count
    else
      failed = failed + count
    end
  end
  return calls, failed
end

local function part_of_window()
  return math.floor(now / (arg.window_seconds / arg.parts))
end

local operations = {}

function operations.admit()
  local left = wait()
  local answer = {generation = number('generation')}
  if not left then
    answer.state = 'closed'
  elseif left <= 0 and not is_on_trial() then
    answer.state = 'half-open'
    answer.trial = redis.call('HINCRBY', circuit, 'trial', 1)
    redis.call('HSET', circuit, 'trial_until', moment(now + arg.seconds))
  else
    redis.call('HINCRBY', circuit, 'rejected', 1)
    answer.state = 'open'
    answer.reason = field('reason')
    answer.held = left == math.huge
    if answer.held then
      left = arg.open_seconds
    elseif left <= 0 then
      left = math.min(number('trial_until') - now, arg.trial_wait)
    end
    answer.retry_after = left
  end
  return cjson.encode(answer)
end

function operations.count()
  if not is_current() then
    return false
  end
  local in_row = 0
  if arg.failed then
    in_row = redis.call('HINCRBY', circuit, 'in_row', 1)
  else
    redis.call('HSET', circuit, 'in_row', 0)
  end
  local part = part_of_window()
  local name = string.format('%d', part)
  redis.call('HINCRBY', window, name .. ':calls', 1)
  if arg.failed then
    redis.call('HINCRBY', window, name .. ':failed', 1)
  end
  redis.call('EXPIRE', window, math.ceil(arg.window_seconds) + 1)
  local calls, failed = sums(part)
  return {in_row, calls, failed}
end

function operations.open()
  if not is_current() then
    return 0
  end
  change('open')
  redis.call('HSET', circuit, 'half_open_at', moment(now + arg.open_seconds))
  return 1
end

function operations.close()
  if not is_current() then
    return 0
  end
  change('closed')
  return 1
end

function operations.give_back()
  if is_current() then
    redis.call('HDEL', circuit, 'trial_until')
  end
end

-- By an operator, who needs no admission.
function operations.hold()
  if field('held') then
    return 0
  end
  change('open')
  redis.call('HSET', circuit, 'held', 1)
  return 1
end

function operations.release()
  if field('state') ~= 'open' then
    return 0
  end
  change('closed')
  return 1
end

function operations.status()
  local calls, failed = sums(part_of_window())
  return cjson.encode({
    now = now,
    state = state(),
    held = field('held') and true or false,
    reason = field('reason') or '',
    since = tonumber(field('since')),
    half_open_at = tonumber(field('half_open_at')),
    trial_until = is_on_trial() and number('trial_until') or nil,
    in_row = number('in_row'),
    calls = calls,
    failed = failed,
    opened = number('opened'),
    closed = number('closed'),
    trials = number('trial'),
    rejected = number('rejected'),
    changes = redis.call('LRANGE', changes, 0, arg.changes - 1),
  })
end

return operations[ARGV[1]]()
