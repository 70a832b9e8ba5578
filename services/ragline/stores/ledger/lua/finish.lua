-- A job's last step is done. A finished delete forgets its document.
local id, token, result = ARGV[1], ARGV[2], ARGV[3]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local job = job_key(id)
redis.call('HSET', job, 'result', result, 'error_code', '', 'error_detail', '')
if get(job, 'kind') == 'delete' then
  local doc = doc_key(get(job, 'document_id'))
  set_document(job, 'state', 'deleted')
  redis.call('ZREM', documents_key(get(doc, 'tenant'), get(doc, 'collection')), get(job, 'document_id'))
  redis.call('DEL', doc .. ':originals')
  redis.call('PEXPIRE', doc, RETENTION_MS)
end
close(id, 'succeeded')
return 'ok'
