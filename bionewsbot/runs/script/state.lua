-- The ledger's transitions. Each is one atomic step, so that redelivered, doubled and late
-- messages meet a state that they can't spoil: a run opens once, an item ends once, a run ends once.
--
-- This part comes first; the others follow in the order of runs/scripting.py.
--
-- KEYS  run, items, leases, open, index (see docs/ledger.md for their shapes); the keys of one entry
--       are made from its name, which some operations learn only here
-- ARGV  operation, now (seconds; empty: this server's clock), argument (JSON)

local run, items, leases, open, index = unpack(KEYS)
local arg = cjson.decode(ARGV[3])
local JOB, FINAL = '*', '+'
local ENDED_SECONDS = 86400

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function field(name)
  return redis.call('HGET', run, name)
end

local function number(name)
  return tonumber(field(name) or 0)
end

local function load_item(target)
  local text = redis.call('HGET', items, target)
  return text and cjson.decode(text)
end

local function store_item(target, item)
  redis.call('HSET', items, target, cjson.encode(item))
end

-- An item that is about to be sent for the first time, in a generation of its own if one is given.
local function unsent_item(message, generation)
  return {state = 'waiting', task = message.task, queue = message.queue, kwargs = message.kwargs,
          sends = 0, starts = 0, generation = generation}
end

local function lease_name(target)
  return arg.run_id .. '|' .. target
end

local function lease(target, seconds)
  redis.call('ZADD', leases, now + seconds, lease_name(target))
end

-- The final item waits for all others; a lease that a generation cut short at its end has left would
-- have it sent before.
local function hold_final(item)
  store_item(FINAL, item)
  redis.call('ZREM', leases, lease_name(FINAL))
  redis.call('HSET', run, 'final', 'waiting')
end

local function add_totals(totals, sign)
  local sums = cjson.decode(field('totals'))
  for name, value in pairs(totals) do
    sums[name] = (sums[name] or 0) + sign * value
  end
  redis.call('HSET', run, 'totals', cjson.encode(sums))
end

local function expire_after(seconds)
  redis.call('EXPIRE', run, math.ceil(seconds))
  redis.call('EXPIRE', items, math.ceil(seconds))
end

local function key_of_sections()
  return arg.prefix .. 'sections:' .. arg.run_id
end

local function key_of_entry(kind)
  return arg.prefix .. kind .. ':' .. field('entry')
end

-- From here on the run keeps others of its entry from starting, until its end or its deadline.
local function enter(run_id, seconds)
  local active = key_of_entry('active')
  redis.call('ZADD', active, now + seconds, run_id)
  redis.call('EXPIRE', active, math.ceil(number('retention') + seconds))
  redis.call('ZADD', open, now + seconds, run_id)
end

local function is_blocked()
  local active = key_of_entry('active')
  -- A run past its deadline is dead, whether or not somebody has closed it.
  redis.call('ZREMRANGEBYSCORE', active, '-inf', now)
  return redis.call('ZRANGE', active, 0, 0)[1]
end

-- The run that waited for this one starts: the reconciler finds its lease run out and sends it.
local function start_waiting()
  local waiting = key_of_entry('waiting')
  local run_id = redis.call('GET', waiting)
  if not run_id or is_blocked() then
    return
  end
  redis.call('DEL', waiting)
  local waiter = arg.prefix .. 'run:' .. run_id
  if redis.call('HGET', waiter, 'status') ~= 'waiting' then
    return
  end
  local seconds = tonumber(redis.call('HGET', waiter, 'run_deadline'))
  local left = tonumber(redis.call('HGET', waiter, 'start_left'))
  redis.call('HSET', waiter, 'status', 'running', 'deadline', now + seconds,
             'start_by', left and now + left or '')
  redis.call('HDEL', waiter, 'reason')
  redis.call('ZADD', leases, now, run_id .. '|' .. JOB)
  enter(run_id, seconds)
end

-- The runs that ended within a day, for whoever tells people of it.
local function note_end()
  local ended = arg.prefix .. 'ended'
  redis.call('ZADD', ended, now, arg.run_id)
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', now - ENDED_SECONDS)
  redis.call('EXPIRE', ended, ENDED_SECONDS)
end

local function end_run(status, reason)
  redis.call('HSET', run, 'status', status, 'ended_at', now)
  if reason then
    redis.call('HSET', run, 'reason', reason)
  end
  redis.call('ZREM', open, arg.run_id)
  redis.call('ZREM', key_of_entry('active'), arg.run_id)
  note_end()
  expire_after(number('retention'))
  start_waiting()
end

local function end_run_if_complete()
  local done, failed, job = number('done'), number('failed'), field('job')
  if job == 'open' or done + failed < number('targets') then
    return ''
  end
  local final = field('final')
  if final == 'waiting' then
    -- Its turn has come: the reconciler finds its lease run out and sends it.
    redis.call('HSET', run, 'final', 'open')
    redis.call('ZADD', leases, now, lease_name(FINAL))
    return ''
  end
  if final == 'open' then
    return ''
  end
  local whole = failed == 0 and job ~= 'failed'
  local status = final ~= 'failed' and (whole and 'succeeded' or done > 0 and 'partial') or 'failed'
  if status == 'succeeded' then
    redis.call('DEL', key_of_sections())
  end
  end_run(status, nil)
  return status
end

local operations = {}
