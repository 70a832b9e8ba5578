-- Notes how far a claimed step got and what its readers should hear: pairs of event type and data after the checkpoint.
local id, token, done, total, unit, checkpoint = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local job = job_key(id)
if total ~= '' then
  redis.call('HSET', job, 'progress_done', done, 'progress_total', total, 'progress_unit', unit)
  emit(id, 'progress', cjson.encode({ step = get(job, 'step'), done = tonumber(done), total = tonumber(total), unit = unit }))
end
if checkpoint ~= '' then redis.call('HSET', job, 'checkpoint', checkpoint) end
for i = 7, #ARGV, 2 do
  emit(id, ARGV[i], ARGV[i + 1])
  if ARGV[i] == 'usage' then
    local usage = cjson.decode(ARGV[i + 1])
    spend(get(job, 'tenant'), (usage.prompt_tokens or 0) + (usage.completion_tokens or 0))
  end
end
return 'ok'
