-- What ends a run from outside, and what the reconciler looks for.

-- Items whose lease ran out, for the reconciler; those that are settled are cleared on the way.
function operations.suspects()
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, arg.limit)) do
    local bar = string.find(name, '|', 1, true)
    arg.run_id = string.sub(name, 1, bar - 1)
    local target = string.sub(name, bar + 1)
    run, items = arg.prefix .. 'run:' .. arg.run_id, arg.prefix .. 'items:' .. arg.run_id
    local item = load_item(target)
    arg.generation = item and item.generation or number('generation')
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
  local status = field('status')
  if status ~= 'running' and status ~= 'waiting' then
    return status or 'unknown'
  end
  if status == 'waiting' then
    redis.call('DEL', key_of_entry('waiting'))
  end
  end_run('cancelled', arg.reason)
  return 'cancelled'
end

-- The job was never begun and may not start any more.
function operations.miss()
  local item = load_item(JOB)
  local start_by = tonumber(field('start_by'))
  if field('status') ~= 'running' or not item or item.begun_at or not start_by or now <= start_by then
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
      end_item(flat[position], item, 'failed', arg.reason, arg.reason)
    end
  end
  redis.call('HSET', run, 'reason', arg.reason)
  return end_run_if_complete()
end
