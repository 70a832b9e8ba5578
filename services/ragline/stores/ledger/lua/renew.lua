-- Keeps claims alive: pairs of job id and token in ARGV; answers one word for each. A claim that holds
-- for longer already stays as it is.
local answers = {}
for i = 1, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local answer = claim_state(id, token)
  if answer == 'ok' then
    local until_ms = math.max(now_ms() + LEASE_MS, number(job_key(id), 'lease_until'))
    redis.call('HSET', job_key(id), 'lease_until', until_ms)
    redis.call('ZADD', LEASES, until_ms, id)
  end
  answers[#answers + 1] = answer
end
return answers
