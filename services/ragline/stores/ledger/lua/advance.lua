-- Ends a step and queues the next one in the same instant.
local id, token, step, queue, template = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
end_claim(job_key(id), 'done')
redis.call('HSET', job_key(id), 'step', step, 'attempts', 0, 'crashes', 0, 'defects', 0, 'interruptions', 0, 'checkpoint', '',
  'progress_done', 0, 'progress_total', 0, 'progress_unit', '', 'error_code', '', 'error_detail', '', 'span', '')
dispatch(id, queue, template)
return 'ok'
