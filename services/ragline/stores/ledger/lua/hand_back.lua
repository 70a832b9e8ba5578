-- Returns an unfinished step to its queue: the budget is spent or the worker stops. That is not a failure.
-- The reason is `interrupted` or `handed_back`.
local id, token, reason, progressed = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local job = job_key(id)
end_claim(job, reason)
if reason == 'interrupted' then
  redis.call('HINCRBY', job, 'interruptions', 1)
  redis.call('HINCRBY', job, 'attempts', -1)
end
if progressed then redis.call('HSET', job, 'attempts', 0, 'crashes', 0, 'defects', 0) end
dispatch(id, get(job, 'queue'), get(job, 'message'))
return 'ok'
