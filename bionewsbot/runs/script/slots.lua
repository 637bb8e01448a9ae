-- Slots: how many items are worked on at a time, over all workers, and who is next in line.
--
-- An item holds its slot from when it begins, or is called up, until it ends, pauses or is put back.
-- What holds it is the item's lease: a slot whose holder died is free when that runs out.

local held, line = arg.prefix .. 'slots', arg.prefix .. 'slots:line'

local TIER = 1e10 -- more than any time in epoch seconds: a queue comes whole before the next one

local function leave_slots(target)
  local name = lease_name(target)
  redis.call('SREM', held, name)
  redis.call('ZREM', line, name)
end

-- One slot is kept for the first queue, where there is more than one: a flood on the others never
-- takes them all.
local function free_slots(item)
  if not arg.slots then
    return math.huge
  end
  local taken, holders = 0, redis.call('SMEMBERS', held)
  if #holders > 0 then
    for position, until_when in ipairs(redis.call('ZMSCORE', leases, unpack(holders))) do
      if until_when and tonumber(until_when) > now then
        taken = taken + 1
      else
        redis.call('SREM', held, holders[position])
      end
    end
  end
  local first = item.queue == arg.slots.queues[1]
  return math.max(arg.slots.limit - (first and 0 or 1), 1) - taken
end

local function place_in_line(item)
  for tier, queue in ipairs(arg.slots.queues) do
    if queue == item.queue then
      return tier * TIER + now
    end
  end
  return (#arg.slots.queues + 1) * TIER + now
end

-- Whether the item has a slot, or gets one; if not it stands in line, behind those who came before.
local function take_slot(target, item)
  local name, free = lease_name(target), free_slots(item)
  if redis.call('SISMEMBER', held, name) == 1 then
    return true
  end
  redis.call('ZADD', line, 'NX', place_in_line(item), name)
  if redis.call('ZRANK', line, name) >= free then
    return false
  end
  redis.call('ZREM', line, name)
  redis.call('SADD', held, name)
  return true
end

-- Time that an item spends in line, or before an open circuit, is none in which it is tried.
local function idle(item)
  item.idle_since = item.idle_since or now
end

local function idle_no_more(item)
  if item.idle_since then
    item.idle = (item.idle or 0) + now - item.idle_since
    item.idle_since = nil
  end
end
