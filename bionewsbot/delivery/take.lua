-- Takes the next message and notes it as taken, in one step: none is lost between the two.
--
-- KEYS  the index of what is out, what is out, then the queues in the order in which to look
-- ARGV  now (epoch seconds)
-- Returns the queue's key, the element, and its delivery tag if it was noted; nothing if all are
-- empty. What kombu couldn't have noted is taken without a note.

local function text(value)
  assert(type(value) == 'string')
  return value
end

local function read(element)
  local properties = cjson.decode(element).properties
  local info = properties.delivery_info
  local exchange, routing_key = text(info.exchange), text(info.routing_key)
  return text(properties.delivery_tag),
         '[' .. element .. ',' .. cjson.encode(exchange) .. ',' .. cjson.encode(routing_key) .. ']'
end

for position = 3, #KEYS do
  local queue = KEYS[position]
  local element = redis.call('LINDEX', queue, -1)
  if element then
    local is_message, tag, note = pcall(read, element)
    if is_message then
      redis.call('ZADD', KEYS[1], ARGV[1], tag)
      redis.call('HSET', KEYS[2], tag, note)
    end
    -- Last: a server that is out of memory refuses the note, and nothing is lost.
    redis.call('RPOP', queue)
    return {queue, element, is_message and tag or nil}
  end
end
