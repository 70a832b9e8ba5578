-- One job with all that a caller wants to know of it: its record, its place among the waiting, the workers of its queue.
local id = ARGV[1]
local job = job_key(id)
local row = redis.call('HGETALL', job)
if #row == 0 then return {} end
local queue, place = get(job, 'queue'), false
if get(job, 'step_state') == 'queued' then
  place = redis.call('ZRANK', queued_key(queue), id)
  if not place then
    local rank = redis.call('ZRANK', held_key(queue, get(job, 'tenant')), id)
    place = rank and rank + redis.call('ZCARD', queued_key(queue))
  end
end
return { row, place, redis.call('ZRANGEBYSCORE', workers_key(queue), now_ms(), '+inf') }
