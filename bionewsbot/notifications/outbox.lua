-- What is to be told, from when it happened until a run takes it over. Each operation is one step.
--
-- KEYS  told, waiting, batch, seen (see docs/notifications.md for their shapes)
-- ARGV  operation, argument (JSON)

local told, waiting, batch, seen = unpack(KEYS)
local arg = cjson.decode(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local operations = {}

-- Notices that were not told before wait. What they cover, and up to when was looked (`seen`), is
-- noted with them.
function operations.put()
  local new, dropped = 0, 0
  for _, notice in ipairs(arg.notices) do
    if redis.call('ZADD', told, now, notice.id) == 1 then
      if redis.call('LLEN', waiting) < arg.most_waiting then
        redis.call('RPUSH', waiting, notice.text)
        new = new + 1
      else
        redis.call('ZREM', told, notice.id)
        dropped = dropped + 1
      end
    end
  end
  for _, id in ipairs(arg.covered) do
    redis.call('ZADD', told, now, id)
  end
  redis.call('ZREMRANGEBYSCORE', told, '-inf', now - arg.keep)
  redis.call('ZREMRANGEBYRANK', told, 0, -(arg.most_told + 1))
  redis.call('EXPIRE', told, arg.keep)
  redis.call('EXPIRE', waiting, arg.keep)
  if arg.seen then
    redis.call('SET', seen, arg.seen, 'EX', arg.keep)
  end
  return {new, dropped}
end

-- The notices of the next run, the same ones until `done` says that it is opened. A run is named by
-- its second, so there is one batch a second.
function operations.take()
  local at, notices = unpack(redis.call('HMGET', batch, 'at', 'notices'))
  if notices then
    return {at, notices}
  end
  if redis.call('LLEN', waiting) == 0 or math.floor(now) <= tonumber(at or 0) then
    return {}
  end
  at = string.format('%d', now)
  notices = cjson.encode(redis.call('LPOP', waiting, arg.most))
  redis.call('HSET', batch, 'at', at, 'notices', notices)
  redis.call('EXPIRE', batch, arg.keep)
  return {at, notices}
end

function operations.done()
  if redis.call('HGET', batch, 'at') == arg.at then
    redis.call('HDEL', batch, 'notices')
  end
  return 1
end

return operations[ARGV[1]]()
