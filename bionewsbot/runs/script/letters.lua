-- Dead letters: what was given up on, with its whole story, until a replay succeeds or it is purged.
-- The copy in the broker's queue follows: `changed` names the letters for which it has yet to.

local letters, letter_times, changed = arg.prefix .. 'letters', arg.prefix .. 'letters:by_time',
  arg.prefix .. 'letters:changed'

local function letter_id(target)
  return string.sub(redis.sha1hex(arg.run_id .. '|' .. target), 1, 12)
end

local function store_letter(letter)
  redis.call('HSET', letters, letter.id, cjson.encode(letter))
  redis.call('ZADD', letter_times, now, letter.id)
  redis.call('SADD', changed, letter.id)
end

local function load_letter(id)
  local text = redis.call('HGET', letters, id)
  return text and cjson.decode(text)
end

local function drop_letter(id)
  local there = redis.call('HDEL', letters, id)
  if there == 1 then
    redis.call('ZREM', letter_times, id)
    redis.call('SADD', changed, id)
  end
  return there
end

local function write_letter(target, item, why)
  local id = letter_id(target)
  local letter = load_letter(id) or {
    schema = 1, id = id, run_id = arg.run_id, target = target, entry = field('entry'),
    scheduled_for = field('scheduled_for'), first_at = item.begun_at or now, stories = {},
  }
  letter.state, letter.last_at = 'dead', now
  letter.task, letter.queue, letter.kwargs = item.task, item.queue, item.kwargs
  table.insert(letter.stories, {
    generation = item.generation or number('generation'), at = now, why = why, error = item.error,
    traceback = arg.traceback, message = arg.message, worker = item.worker, sends = item.sends,
    starts = item.starts, deaths = item.deaths or 0, attempts = item.attempts,
  })
  if #letter.stories > arg.keep_stories then
    table.remove(letter.stories, 2)
  end
  store_letter(letter)
end

-- What a replayed target adds has to come into the end: that is done once more, after it.
local function repeat_final(generation)
  local item = load_item(FINAL)
  if item then
    add_totals(item.totals or {}, -1)
    hold_final(unsent_item(item, generation))
  end
end

-- The run ends before its items do: what was being replayed is given up on once more.
local function cut_short(status, reason)
  local flat = redis.call('HGETALL', items)
  for position = 1, #flat, 2 do
    local target, item = flat[position], cjson.decode(flat[position + 1])
    local letter = item.generation and load_letter(letter_id(target))
    if letter and letter.state == 'replaying' then
      write_letter(target, item, reason)
    end
  end
  end_run(status, reason)
end

-- What stands against a replay: the state of the run or the item; nil if nothing does.
local function against_replay(item)
  local status = field('status')
  if not status then
    return 'unknown'
  end
  if status == 'cancelled' or status == 'missed' or status == 'skipped' then
    return status
  end
  if not item then
    return 'unselected'
  end
  return item.state ~= 'failed' and item.state or nil
end

function operations.against_replay()
  return against_replay(load_item(arg.target)) or ''
end

-- The item starts anew, under the same idempotency key: a new generation with all its attempts.
function operations.replay()
  local item = load_item(arg.target)
  local why = against_replay(item)
  if why then
    return {why, 0}
  end
  local generation = math.max(number('generation'), number('last_generation')) + 1
  -- The starting deadline was for the first time; now an operator starts it.
  redis.call('HSET', run, 'last_generation', generation, 'start_by', '')
  if arg.target == JOB then
    redis.call('HSET', run, 'job', 'open')
  elseif arg.target == FINAL then
    redis.call('HSET', run, 'final', 'open')
  else
    redis.call('HINCRBY', run, 'failed', -1)
    repeat_final(generation)
  end
  if field('status') ~= 'running' then
    local seconds = number('run_deadline')
    redis.call('HSET', run, 'status', 'running', 'deadline', now + seconds)
    redis.call('HDEL', run, 'ended_at', 'reason')
    expire_after(seconds + number('retention'))
    enter(arg.run_id, seconds)
  end
  store_item(arg.target, unsent_item(item, generation))
  lease(arg.target, arg.lease)
  local letter = load_letter(letter_id(arg.target))
  if letter then
    letter.state, letter.replayed_at, letter.replayed_by = 'replaying', now, arg.by
    letter.replays = (letter.replays or 0) + 1
    store_letter(letter)
  end
  return {'replayed', generation}
end

function operations.purge()
  local gone = 0
  for _, id in ipairs(arg.ids) do
    gone = gone + drop_letter(id)
  end
  return gone
end

-- A message without a known run; a second record of the same one adds nothing.
function operations.record()
  if redis.call('HEXISTS', letters, arg.letter.id) == 1 then
    return 0
  end
  store_letter(arg.letter)
  return 1
end
