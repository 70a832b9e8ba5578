-- What there is to say at one moment: all that was counted, the state of each queue in ARGV, and of Redis itself.
local FIRST_MESSAGES = 127

-- A queue is first in, first out, but a held job that gets its place on it has waited before: so the oldest one is among
-- the first messages or the first of the held, unless more than eight tenants have their whole share on the queue.
local function waited_ms(queue, now)
  local first = now
  for _, waiting in ipairs({ queued_key(queue), held_key(queue) }) do
    for _, id in ipairs(redis.call('ZRANGE', waiting, 0, FIRST_MESSAGES)) do
      -- 0 when the job is gone, as after a backup that was restored without it.
      local queued_at = number(job_key(id), 'queued_at')
      if queued_at > 0 and queued_at < first then first = queued_at end
    end
  end
  return now - first
end

local now, queues = now_ms(), {}
for i, queue in ipairs(ARGV) do
  local held = redis.call('ZCARD', held_key(queue))
  local in_flight, workers = redis.call('HLEN', unacked_key(queue)), redis.call('ZCOUNT', workers_key(queue), now, '+inf')
  queues[i] = { redis.call('LLEN', queue) + held, held, in_flight, workers, waited_ms(queue, now) }
end
local info = {}
for i, section in ipairs({ 'memory', 'persistence', 'clients' }) do info[i] = redis.call('INFO', section) end
return { redis.call('HGETALL', METRICS), queues, table.concat(info) }
