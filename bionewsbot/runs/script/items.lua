-- An item is sent, begun, paused and ended.

local function end_item(target, item, state, error, why)
  item.state = state
  item.totals = arg.totals
  item.ended_at = now
  item.error = error
  store_item(target, item)
  redis.call('ZREM', leases, lease_name(target))
  leave_slots(target)
  if state == 'failed' then
    write_letter(target, item, why)
  else
    -- What failed in an earlier generation is put right.
    drop_letter(letter_id(target))
  end
  if target == JOB then
    redis.call('HSET', run, 'job', state)
  elseif target == FINAL then
    redis.call('HSET', run, 'final', state)
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
  if not item then
    return number('generation') ~= arg.generation and 'superseded' or 'unknown'
  end
  if (item.generation or number('generation')) ~= arg.generation then
    return 'superseded'
  end
  if item.state == 'done' or item.state == 'failed' then
    return item.state
  end
  return status ~= 'running' and 'ended' or nil
end

-- The first attempt and the latest ones are kept with their times.
local function add_attempt(item, error)
  item.tried = (item.tried or 0) + 1
  item.attempts = item.attempts or {}
  table.insert(item.attempts, {at = now, error = error, worker = item.worker})
  if #item.attempts > arg.keep_attempts then
    table.remove(item.attempts, 2)
  end
end

function operations.fan_out()
  local why = settled(load_item(JOB))
  if why then
    return {why, '[]'}
  end
  -- The targets of a job that is replayed are of its generation, not of the run's.
  local own = arg.generation ~= number('generation') and arg.generation or nil
  if not field('fanned_out_at') then
    redis.call('HSET', run, 'fanned_out_at', now, 'targets', #arg.targets)
    for _, target in ipairs(arg.targets) do
      store_item(target.target, unsent_item(target, own))
      lease(target.target, arg.lease)
    end
    if arg.final then
      hold_final(unsent_item(arg.final, own))
    end
  end
  local flat = redis.call('HGETALL', items)
  local unsent = {}
  for position = 1, #flat, 2 do
    local item = cjson.decode(flat[position + 1])
    if flat[position] ~= JOB and flat[position] ~= FINAL and item.state == 'waiting' then
      item.generation = own
      store_item(flat[position], item)
      table.insert(unsent, {target = flat[position], task = item.task, queue = item.queue,
                            kwargs = item.kwargs})
    end
  end
  return {'go', #unsent > 0 and cjson.encode(unsent) or '[]'}
end

local function mark_sent()
  if field('status') ~= 'running' then
    return 0
  end
  for _, send in ipairs(arg.messages) do
    local item = load_item(send.target)
    if not settled(item) then
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
  return #arg.messages
end

function operations.sent()
  return for_each(arg.runs, mark_sent)
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
  -- The same message again, and nobody said how it ended: its worker died with it.
  if item.alive and item.begun_by == arg.task_id then
    item.deaths = (item.deaths or 0) + 1
    if item.deaths >= arg.max_deaths then
      store_item(arg.target, item)
      return 'poison'
    end
  end
  if arg.slots and not take_slot(arg.target, item) then
    -- Nobody has to look for it: it is called up when its turn comes.
    item.alive, item.in_line = false, true
    idle(item)
    store_item(arg.target, item)
    redis.call('ZREM', leases, lease_name(arg.target))
    return 'in line'
  end
  item.in_line = nil
  idle_no_more(item)
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
  if arg.counts then
    add_attempt(item, arg.error)
  else
    idle(item)
  end
  leave_slots(arg.target)
  store_item(arg.target, item)
  lease(arg.target, arg.lease)
  return 1
end

-- Its worker stops and puts the message back: nobody works on the item, and no worker has died.
local function let_go()
  for _, message in ipairs(arg.messages) do
    local item = load_item(message.target)
    if not settled(item) and item.begun_by == message.task_id then
      item.alive = false
      idle(item)
      leave_slots(message.target)
      store_item(message.target, item)
      lease(message.target, arg.lease)
    end
  end
  return #arg.messages
end

function operations.let_go()
  return for_each(arg.runs, let_go)
end

-- How often the item was tried and failed, and for how many seconds it has been tried, idle times
-- left out.
function operations.tried()
  local item = load_item(arg.target)
  if not item then
    return {0, '0'}
  end
  return {item.tried or 0, tostring(now - (item.begun_at or now) - (item.idle or 0))}
end

function operations.finish()
  local item = load_item(arg.target)
  local why = settled(item)
  if why then
    if why == 'ended' then
      leave_slots(arg.target)
    end
    return {why, ''}
  end
  -- First, since Redis takes nothing back of a script that fails at its section.
  if arg.section then
    redis.call('HSET', key_of_sections(), arg.target, arg.section)
    redis.call('EXPIRE', key_of_sections(), arg.keep_sections)
  end
  end_item(arg.target, item, arg.state, arg.error, arg.why)
  add_totals(arg.totals, 1)
  return {'recorded', end_run_if_complete()}
end
