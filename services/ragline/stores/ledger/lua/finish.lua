-- A job's last step is done. A finished delete forgets its document, a finished drop its collection; an answer may be kept
-- for the next one who asks the same: then the generation it rests on, what decided it and its events follow.
local id, token, result, generation, profile, events = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local job = job_key(id)
local tenant, collection = get(job, 'tenant'), get(job, 'collection')
redis.call('HSET', job, 'result', result, 'error_code', '', 'error_detail', '')
if get(job, 'kind') == 'delete' then
  local document = get(job, 'document_id')
  set_document(job, 'deleted')
  redis.call('ZREM', documents_key(tenant, collection), document)
  redis.call('DEL', originals_key(document))
  redis.call('PEXPIRE', doc_key(document), RETENTION_MS)
end
if get(job, 'kind') == 'drop' then
  local last = tonumber(redis.call('GET', last_generation_key(tenant)) or 0)
  redis.call('SET', last_generation_key(tenant), math.max(last, number(collection_key(tenant, collection), 'generation')))
  redis.call('DEL', collection_key(tenant, collection), documents_key(tenant, collection), names_key(tenant, collection),
    metadata_key(tenant, collection), pending_key(tenant, collection))
end
if generation and (get(job, 'answer_key') or '') ~= '' then
  local key = answer_key(tenant, get(job, 'answer_key'))
  redis.call('SET', ANSWERING, profile)
  redis.call('HSET', key, 'generation', generation, 'profile', profile, 'result', result, 'events', events)
  redis.call('PEXPIRE', key, get(job, 'keep_answer_ms'))
end
close(id, 'succeeded')
return 'ok'
