-- A run is opened: it starts, waits, or is on record as missed or skipped.


-- Ids that are forgotten leave the indexes, a few with each opening: an index stays as long as the
-- runs are kept, whenever they were scheduled.
local function add_to(key)
  redis.call('ZADD', key, arg.scheduled_at, arg.run_id)
  for _, run_id in ipairs(redis.call('ZRANGE', key, 0, arg.sweep - 1)) do
    if redis.call('EXISTS', arg.prefix .. 'run:' .. run_id) == 0 then
      redis.call('ZREM', key, run_id)
    end
  end
end

-- What an occurrence that has a run comes to when it is opened once more.
local function open_again(status)
  local job = load_item(JOB)
  if status ~= 'running' or job.state ~= 'waiting' or job.begun_at then
    return {'exists', status}
  end
  local start_by = tonumber(field('start_by'))
  if arg.missed or (start_by and now > start_by) then
    end_run('missed', arg.missed or arg.too_late)
    return {'missed', number('generation')}
  end
  return {'unsent', number('generation')}
end

local function open_run()
  local status = field('status')
  local generation, earlier = 1, '[]'
  if status then
    if not arg.again then
      return open_again(status)
    end
    if status == 'running' or status == 'waiting' then
      return {'exists', status}
    end
    generation = math.max(number('generation'), number('last_generation')) + 1
    earlier = cjson.decode(field('earlier'))
    table.insert(earlier, {
      generation = number('generation'), status = status, done = number('done'),
      failed = number('failed'), opened_at = number('opened_at'), ended_at = number('ended_at'),
    })
    while #earlier > arg.keep_generations do
      table.remove(earlier, 1)
    end
    earlier = cjson.encode(earlier)
    redis.call('DEL', run, items, key_of_sections())
  end
  redis.call('HSET', run,
    'schema', arg.schema, 'entry', arg.entry, 'scheduled_for', arg.scheduled_for,
    'generation', generation, 'earlier', earlier, 'origin', arg.origin, 'status', 'running',
    'opened_at', now, 'start_by', arg.start_by or '', 'deadline', now + arg.deadline,
    'run_deadline', arg.deadline, 'retention', arg.retention, 'job', 'open', 'targets', 0,
    'done', 0, 'failed', 0, 'totals', '{}')
  store_item(JOB, {state = 'waiting', task = arg.task, queue = arg.queue, kwargs = arg.kwargs,
                   sends = 0, starts = 0})
  expire_after(arg.deadline + arg.retention)
  add_to(index)
  add_to(key_of_entry('index'))
  redis.call('EXPIRE', key_of_entry('index'), math.ceil(arg.deadline + arg.retention))
  if arg.missed or (arg.start_by and now > arg.start_by) then
    end_run('missed', arg.missed or arg.too_late)
    return {'missed', generation}
  end
  -- What waited for a run that died comes before this one.
  local other = arg.overlap ~= 'allow' and (start_waiting() or is_blocked())
  if other then
    local waiting = key_of_entry('waiting')
    if arg.overlap == 'skip' or redis.call('EXISTS', waiting) == 1 then
      end_run('skipped', other .. ' was still running')
      return {'skipped', generation}
    end
    redis.call('HSET', run, 'status', 'waiting', 'start_left',
               arg.start_by and arg.start_by - now or '', 'reason', 'waits for ' .. other)
    redis.call('SET', waiting, arg.run_id, 'EX', math.ceil(arg.deadline + arg.retention))
    return {'waiting', generation}
  end
  lease(JOB, arg.lease)
  enter(arg.run_id, arg.deadline)
  return {'opened', generation}
end

-- Does it for each row, whose fields come before the argument's own. Returns the answers.
local function for_each(rows, act)
  local shared, answers = arg, {}
  for _, row in ipairs(rows) do
    arg = setmetatable(row, {__index = shared})
    run, items = arg.prefix .. 'run:' .. arg.run_id, arg.prefix .. 'items:' .. arg.run_id
    table.insert(answers, act())
  end
  return answers
end

function operations.open()
  return for_each(arg.runs, open_run)
end
