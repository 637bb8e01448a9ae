-- The ledger's transitions. Each is one atomic step, so that redelivered, doubled and late
-- messages meet a state that they can't spoil: a run opens once, an item ends once, a run ends once.
--
-- KEYS  run, items, leases, open, index (see docs/ledger.md for their shapes)
-- ARGV  operation, now (seconds; empty: this server's clock), argument (JSON)

local run, items, leases, open, index = unpack(KEYS)
local arg = cjson.decode(ARGV[3])
local JOB = '*'

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

local function lease_name(target)
  return arg.run_id .. '|' .. target
end

local function lease(target, seconds)
  redis.call('ZADD', leases, now + seconds, lease_name(target))
end

local function expire_after(seconds)
  redis.call('EXPIRE', run, math.ceil(seconds))
  redis.call('EXPIRE', items, math.ceil(seconds))
end

local function end_run(status, reason)
  redis.call('HSET', run, 'status', status, 'ended_at', now)
  if reason then
    redis.call('HSET', run, 'reason', reason)
  end
  redis.call('ZREM', open, arg.run_id)
  expire_after(number('retention'))
end

local function end_run_if_complete()
  local done, failed, job = number('done'), number('failed'), field('job')
  if job == 'open' or done + failed < number('targets') then
    return ''
  end
  local status = 'succeeded'
  if failed > 0 or job == 'failed' then
    status = done > 0 and 'partial' or 'failed'
  end
  end_run(status, nil)
  return status
end

local function end_item(target, item, state, error)
  item.state = state
  item.totals = arg.totals
  item.ended_at = now
  item.error = error
  store_item(target, item)
  redis.call('ZREM', leases, lease_name(target))
  if target == JOB then
    redis.call('HSET', run, 'job', state)
  else
    redis.call('HINCRBY', run, state, 1)
  end
end

-- Why a message of this generation has nothing left to do, or nil if it has.
local function settled(item)
  local status = field('status')
  if not status then
    return 'unknown'
  end
  if number('generation') ~= arg.generation then
    return 'superseded'
  end
  if not item then
    return 'unknown'
  end
  if item.state == 'done' or item.state == 'failed' then
    return item.state
  end
  if status ~= 'running' then
    return 'ended'
  end
  return nil
end

local operations = {}

function operations.open()
  local status = field('status')
  local generation = 1
  local earlier = '[]'
  if status then
    if not arg.again or status == 'running' then
      return {'exists', status}
    end
    generation = number('generation') + 1
    earlier = cjson.decode(field('earlier'))
    table.insert(earlier, {
      generation = number('generation'), status = status, done = number('done'),
      failed = number('failed'), opened_at = number('opened_at'), ended_at = number('ended_at'),
    })
    while #earlier > arg.keep_generations do
      table.remove(earlier, 1)
    end
    earlier = cjson.encode(earlier)
    redis.call('DEL', run, items)
  end
  redis.call('HSET', run,
    'schema', arg.schema, 'entry', arg.entry, 'scheduled_for', arg.scheduled_for,
    'generation', generation, 'earlier', earlier, 'origin', arg.origin, 'status', 'running',
    'opened_at', now, 'start_by', arg.start_by or '', 'deadline', now + arg.deadline,
    'retention', arg.retention, 'job', 'open', 'targets', 0, 'done', 0, 'failed', 0,
    'totals', '{}')
  store_item(JOB, {state = 'waiting', task = arg.task, queue = arg.queue, kwargs = arg.kwargs,
                   sends = 0, starts = 0})
  redis.call('ZADD', index, arg.scheduled_at, arg.run_id)
  -- Each opening sweeps a few of the oldest that are forgotten: the index stays as long as the
  -- runs are kept, whenever they were scheduled.
  for _, run_id in ipairs(redis.call('ZRANGE', index, 0, arg.sweep - 1)) do
    if redis.call('EXISTS', arg.prefix .. 'run:' .. run_id) == 0 then
      redis.call('ZREM', index, run_id)
    end
  end
  if arg.start_by and now > arg.start_by then
    end_run('missed', 'its starting deadline had passed before it could be sent')
    return {'missed', generation}
  end
  lease(JOB, arg.lease)
  redis.call('ZADD', open, now + arg.deadline, arg.run_id)
  expire_after(arg.deadline + arg.retention)
  return {'opened', generation}
end

function operations.fan_out()
  local why = settled(load_item(JOB))
  if why then
    return {why, '[]'}
  end
  if not field('fanned_out_at') then
    redis.call('HSET', run, 'fanned_out_at', now)
    redis.call('HSET', run, 'targets', #arg.targets)
    for _, target in ipairs(arg.targets) do
      store_item(target.target, {state = 'waiting', task = target.task, queue = target.queue,
                                 kwargs = target.kwargs, sends = 0, starts = 0})
      lease(target.target, arg.lease)
    end
  end
  local flat = redis.call('HGETALL', items)
  local unsent = {}
  for position = 1, #flat, 2 do
    local item = cjson.decode(flat[position + 1])
    if flat[position] ~= JOB and item.state == 'waiting' then
      table.insert(unsent, {target = flat[position], task = item.task, queue = item.queue,
                            kwargs = item.kwargs})
    end
  end
  return {'go', #unsent > 0 and cjson.encode(unsent) or '[]'}
end

function operations.sent()
  if number('generation') ~= arg.generation or field('status') ~= 'running' then
    return 0
  end
  for _, send in ipairs(arg.sends) do
    local item = load_item(send.target)
    if item and (item.state == 'waiting' or item.state == 'sent') then
      item.sends = item.sends + 1
      item.sent_at = now
      -- A worker may have begun it before this mark: then its lease is the worker's to renew.
      if item.begun_by ~= send.task_id then
        item.state = 'sent'
        item.task_id = send.task_id
        if item.alive then
          item.deaths = (item.deaths or 0) + 1
        end
        item.alive = false
        lease(send.target, arg.lease)
      end
      store_item(send.target, item)
    end
  end
  return #arg.sends
end

function operations.begin()
  local item = load_item(arg.target)
  local why = settled(item)
  if why then
    return why
  end
  local until_when = tonumber(redis.call('ZSCORE', leases, lease_name(arg.target)) or 0)
  if item.begun_by and item.begun_by ~= arg.task_id and item.alive and until_when > now then
    return 'busy'
  end
  item.state = 'sent'
  item.task_id = arg.task_id
  item.begun_by = arg.task_id
  item.begun_at = item.begun_at or now
  item.worker = arg.worker
  item.alive = true
  item.starts = item.starts + 1
  store_item(arg.target, item)
  lease(arg.target, arg.lease)
  return 'go'
end

-- The item waits for a retry: nobody works on it, and nobody needs to send it again before then.
function operations.pause()
  local item = load_item(arg.target)
  if settled(item) then
    return 0
  end
  item.alive = false
  item.error = arg.error
  store_item(arg.target, item)
  lease(arg.target, arg.lease)
  return 1
end

function operations.finish()
  local item = load_item(arg.target)
  local why = settled(item)
  if why then
    return {why, ''}
  end
  end_item(arg.target, item, arg.state, arg.error)
  local totals = cjson.decode(field('totals'))
  for name, value in pairs(arg.totals) do
    totals[name] = (totals[name] or 0) + value
  end
  redis.call('HSET', run, 'totals', cjson.encode(totals))
  return {'recorded', end_run_if_complete()}
end

-- Items whose lease ran out, for the reconciler; those that are settled are cleared on the way.
function operations.suspects()
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, arg.limit)) do
    local bar = string.find(name, '|', 1, true)
    arg.run_id = string.sub(name, 1, bar - 1)
    local target = string.sub(name, bar + 1)
    run, items = arg.prefix .. 'run:' .. arg.run_id, arg.prefix .. 'items:' .. arg.run_id
    arg.generation = number('generation')
    local item = load_item(target)
    if settled(item) then
      redis.call('ZREM', leases, name)
    else
      item.run_id, item.target, item.generation = arg.run_id, target, arg.generation
      item.start_by = tonumber(field('start_by'))
      table.insert(found, item)
    end
  end
  return #found > 0 and cjson.encode(found) or '[]'
end

function operations.cancel()
  if field('status') ~= 'running' then
    return field('status') or 'unknown'
  end
  end_run('cancelled', arg.reason)
  return 'cancelled'
end

-- The job was never begun and may not start any more.
function operations.miss()
  local item = load_item(JOB)
  local start_by = tonumber(field('start_by'))
  if field('status') ~= 'running' or not item or item.begun_at or not start_by
      or now <= start_by then
    return ''
  end
  end_run('missed', arg.reason)
  return 'missed'
end

function operations.overdue()
  if field('status') ~= 'running' or now <= number('deadline') then
    return ''
  end
  local flat = redis.call('HGETALL', items)
  for position = 1, #flat, 2 do
    local item = cjson.decode(flat[position + 1])
    if item.state == 'waiting' or item.state == 'sent' then
      end_item(flat[position], item, 'failed', arg.reason)
    end
  end
  redis.call('HSET', run, 'reason', arg.reason)
  return end_run_if_complete()
end

return operations[ARGV[1]]()
