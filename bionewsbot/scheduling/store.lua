-- The schedule's keys in Redis: each operation is one atomic step and one round trip.
--
-- KEYS  schedule, statics, lock (RedBeat's); beats, paused, set_aside, changes, counts (ours)
-- ARGV  operation, argument (JSON), keys of the entries to write. Those stand apart because a name
--       that isn't UTF-8 has no place in JSON; for the same reason texts are compared by digest.

local schedule, statics, lock, beats, paused, set_aside, changes, counts = unpack(KEYS)
local arg = cjson.decode(ARGV[2])

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local now_text = string.format('%d.%06d', time[1], time[2])

local function holds_lock()
  return redis.call('GET', lock) == arg.me
end

local function renew_lock()
  redis.call('PEXPIRE', lock, arg.lock_ms)
end

local function read_row(key)
  local row = redis.pcall('HMGET', key, 'definition', 'meta', 'bionewsbot')
  if row.err then
    return {key, false, false, false, 0}
  end
  return {key, row[1], row[2], row[3], 1}
end

-- What stands in the schedule may be anything; RedBeat's own keys (`redbeat::lock`) are no entries.
local function is_entry(key)
  local name = string.sub(key, #arg.prefix + 1)
  return arg.prefix .. name == key and string.sub(name, 1, 1) ~= ':'
         and redis.call('EXISTS', key) == 1
end

local operations = {}

-- One look of a beat: stand for election, and, as the lock's holder, read what is due.
function operations.look()
  redis.call('ZREMRANGEBYSCORE', beats, '-inf', now - arg.forget_seconds)
  redis.call('ZADD', beats, now_text, arg.me)
  local role = 'leader'
  if not holds_lock() then
    if not redis.call('SET', lock, arg.me, 'NX', 'PX', arg.lock_ms) then
      return {'standby', now_text, '', {}, '', {}}
    end
    role = 'elected'
  end
  renew_lock()
  local said = redis.call('XRANGE', changes, '(' .. (redis.call('HGET', counts, 'told') or '0-0'), '+',
                          'COUNT', 100)
  if #said > 0 then
    redis.call('HSET', counts, 'told', said[#said][1])
  end
  local why = redis.call('GET', paused)
  if role == 'elected' or why then
    return {role, now_text, why or '', {}, '', said}
  end
  -- The oldest come first; the newest come with them, so that an entry which is due on its own
  -- doesn't wait behind a thousand that are due together.
  local oldest = redis.call('ZRANGE', schedule, 0, now_text, 'BYSCORE', 'LIMIT', 0, arg.oldest)
  local newest = redis.call('ZRANGE', schedule, now_text, 0, 'BYSCORE', 'REV', 'LIMIT', 0, arg.newest)
  local rows, seen = {}, {}
  for _, keys in ipairs({oldest, newest}) do
    for _, key in ipairs(keys) do
      if not seen[key] then
        seen[key] = true
        if is_entry(key) then
          table.insert(rows, read_row(key))
        else
          redis.call('ZREM', schedule, key)
        end
      end
    end
  end
  local following = redis.call('ZRANGE', schedule, '(' .. now_text, '+inf', 'BYSCORE', 'LIMIT', 0, 1,
                               'WITHSCORES')
  return {role, now_text, '', rows, following[2] or '', said}
end

local function digest_of(key)
  local row = read_row(key)
  return redis.sha1hex(table.concat({row[2] or '', row[3] or '', row[4] or '', row[5]}, '\n'))
end

local function apply(key, change)
  local name = string.sub(key, #arg.prefix + 1)
  if change.delete then
    redis.call('DEL', key)
    redis.call('ZREM', schedule, key)
    redis.call('SREM', statics, name)
    redis.call('HDEL', set_aside, name)
    return
  end
  if next(change.fields) and redis.call('TYPE', key).ok ~= 'hash' then
    redis.call('DEL', key)
  end
  for field, text in pairs(change.fields) do
    redis.call('HSET', key, field, text)
  end
  redis.call('ZADD', schedule, change.score, key)
  if change.static then
    redis.call('SADD', statics, name)
  end
  if change.aside then
    redis.call('HSET', set_aside, name, change.aside)
  else
    redis.call('HDEL', set_aside, name)
  end
end

-- Writes entries, each only as it was when it was read. `me`: only as the lock's holder.
-- `together`: all of them or none.
function operations.write()
  if arg.me then
    if not holds_lock() then
      return {'lost', {}}
    end
    renew_lock()
  end
  local stale, fresh = {}, {}
  for position, change in ipairs(arg.changes) do
    local key = ARGV[2 + position]
    if digest_of(key) == change.was then
      table.insert(fresh, position)
    else
      table.insert(stale, string.sub(key, #arg.prefix + 1))
    end
  end
  if arg.together and #stale > 0 then
    return {'stale', stale}
  end
  for _, position in ipairs(fresh) do
    apply(ARGV[2 + position], arg.changes[position])
  end
  for name, more in pairs(arg.counts) do
    redis.call('HINCRBY', counts, name, more)
  end
  for _, what in ipairs(arg.said) do
    redis.call('XADD', changes, 'MAXLEN', '~', arg.keep_changes, '*', 'by', arg.by, 'what', what)
  end
  return {'written', stale}
end

function operations.pause()
  redis.call('SET', paused, arg.text)
  redis.call('XADD', changes, 'MAXLEN', '~', arg.keep_changes, '*', 'by', arg.by, 'what', arg.said)
end

function operations.resume()
  local was = redis.call('GET', paused)
  if was then
    redis.call('DEL', paused)
    redis.call('XADD', changes, 'MAXLEN', '~', arg.keep_changes, '*', 'by', arg.by, 'what', arg.said)
  end
  return was
end

-- A new holder has another look at what was set aside: its code may know better.
function operations.reconsider()
  if not holds_lock() then
    return
  end
  for _, name in ipairs(redis.call('HKEYS', set_aside)) do
    redis.call('ZADD', schedule, 'XX', 0, arg.prefix .. name)
  end
end

function operations.release()
  redis.call('ZREM', beats, arg.me)
  if holds_lock() then
    redis.call('DEL', lock)
  end
end

return operations[ARGV[1]]()
