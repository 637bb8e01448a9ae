-- What ends a run from outside, and what the reconciler looks for.

-- Turn to the item that a name of `leases` or of the line stands for; nil if it is settled.
local function look_at(name)
  local bar = string.find(name, '|', 1, true)
  arg.run_id = string.sub(name, 1, bar - 1)
  local target = string.sub(name, bar + 1)
  run, items = arg.prefix .. 'run:' .. arg.run_id, arg.prefix .. 'items:' .. arg.run_id
  local item = load_item(target)
  arg.generation = item and item.generation or number('generation')
  return not settled(item) and item or nil, target
end

-- An item with all that its message is made of.
local function to_send(item, target)
  item.run_id, item.target, item.generation = arg.run_id, target, arg.generation
  item.start_by = tonumber(field('start_by'))
  return item
end

-- Items whose lease ran out, for the reconciler; those that are settled are cleared on the way.
function operations.suspects()
  local found, names, cleared = {}, nil, 0
  repeat
    names = redis.call('ZRANGE', leases, '-inf', now, 'BYSCORE',
                       'LIMIT', #found, arg.limit - #found)
    for _, name in ipairs(names) do
      local item, target = look_at(name)
      if item then
        table.insert(found, to_send(item, target))
      else
        redis.call('ZREM', leases, name)
        cleared = cleared + 1
      end
    end
  until #names == 0 or #found == arg.limit or cleared >= arg.clear
  return #found > 0 and cjson.encode(found) or '[]'
end

-- Slots that are free go to those who are first in line; their messages are to be sent.
function operations.call_up()
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', line, 0, arg.limit - 1)) do
    local item, target = look_at(name)
    if item and free_slots(item) < 1 then
      break
    end
    redis.call('ZREM', line, name)
    if item then
      redis.call('SADD', held, name)
      item.in_line = nil
      store_item(target, item)
      lease(target, arg.lease)
      table.insert(found, to_send(item, target))
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
  cut_short('cancelled', arg.reason)
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
