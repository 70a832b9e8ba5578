-- Gives a step to one worker: token and attempt counter go up at the start, so that a crash cannot hide a try.
-- Answers the job's record and the span of the attempt before, for a trace to link to.
local id, step, worker, lease_ms, max_attempts, document_state, span =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
local job, now = job_key(id), now_ms()
local state = get(job, 'state')
if not state then return { 'unknown' } end
if is_final(state) or get(job, 'step') ~= step then return { 'done' } end
local step_state = get(job, 'step_state')
if step_state == 'delayed' then return { 'delayed' } end
if step_state == 'leased' then
  local lease_until = number(job, 'lease_until')
  if lease_until > now then return { 'taken' } end
  if not count_crash(id) then return { 'done' } end
  redis.call('HSET', job, 'queued_at', lease_until, 'cold', 0)
end
if get(job, 'cancel') == '1' then
  cancel_on_request(id)
  return { 'done' }
end
if number(job, 'attempts') >= max_attempts then
  fail(id, 'attempts_exhausted', 'step ' .. step .. ' was started ' .. max_attempts .. ' times without progress')
  return { 'done' }
end
local previous_span, queue, cold = get(job, 'span') or '', get(job, 'queue'), get(job, 'cold') == '1'
local waited_ms = now - number(job, 'queued_at')
observe('queue_wait', queue, waited_ms)
if cold then count('cold_starts', queue) end
local attempt = redis.call('HINCRBY', job, 'attempts', 1)
-- Higher than every token before, and another one than a server gave whose last writes a failover lost.
local token = string.format('%.0f', math.max(now_us(), number(job, 'token') + 1))
if number(job, 'started_at') == 0 then redis.call('HSET', job, 'started_at', now) end
redis.call('HSET', job, 'state', 'running', 'step_state', 'leased', 'token', token, 'lease_until', now + lease_ms,
  'worker', worker, 'claimed_at', now, 'span', span)
redis.call('ZADD', LEASES, now + lease_ms, id)
if document_state ~= '' and not is_committed(job) then set_document(job, document_state) end
leave_queue(id)
count_drained(queue, now)
emit(id, 'progress', cjson.encode({ step = step, attempt = attempt, waited_ms = waited_ms, cold = cold or nil }))
return { 'claimed', redis.call('HGETALL', job), previous_span }
