-- Ends a waiting job at once; asks a running one to stop at its next effect.
local id, tenant = ARGV[1], ARGV[2]
local job = job_key(id)
if get(job, 'tenant') ~= tenant then return 'unknown' end
if is_final(get(job, 'state')) or is_committed(job) then return 'final' end
if get(job, 'kind') == 'delete' or get(job, 'kind') == 'drop' then return 'refused' end
if get(job, 'step_state') == 'leased' then
  redis.call('HSET', job, 'cancel', 1)
  return 'requested'
end
cancel_on_request(id)
return 'cancelled'
