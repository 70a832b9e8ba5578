-- A step failed: another try after a delay, or the end when there were enough. Defects are counted apart, so that an
-- outage before one does not use up its tries.
local id, token, delay_ms, code, detail, max_attempts = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local job = job_key(id)
local tries = code == 'internal_error' and redis.call('HINCRBY', job, 'defects', 1) or number(job, 'attempts')
if tries >= max_attempts then
  fail(id, 'attempts_exhausted', detail)
  return 'exhausted'
end
end_claim(job, 'retried')
local due = now_ms() + delay_ms
set_error(id, code, detail)
redis.call('HSET', job, 'step_state', 'delayed', 'lease_until', 0, 'retry_at', due)
redis.call('ZREM', LEASES, id)
delay(id, due)
return 'ok'
