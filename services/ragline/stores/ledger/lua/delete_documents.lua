-- Hides documents of a collection that is being dropped, and queues a delete for each: triples of document, job and message
-- after the claim.
local id, token = ARGV[1], ARGV[2]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local drop = job_key(id)

-- A delete that waits for a store is tried for an hour; one that ended as failed may do better once or twice, not for ever.
local MOST_FAILED_ROUNDS = 3
local function has_failed_delete()
  for i = 3, #ARGV, 3 do
    local last = get(doc_key(ARGV[i]), 'job_id')
    if last and get(job_key(last), 'kind') == 'delete' and get(job_key(last), 'state') == 'failed' then return true end
  end
  return false
end

if has_failed_delete() and redis.call('HINCRBY', drop, 'failed_rounds', 1) == MOST_FAILED_ROUNDS then
  fail(id, 'attempts_exhausted', 'deletes of its documents failed ' .. MOST_FAILED_ROUNDS .. ' times')
  return 'lost'
end

for i = 3, #ARGV, 3 do
  local document, job, template = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state = get(doc_key(document), 'state')
  if state and state ~= 'deleting' and state ~= 'deleted' then
    hide_document(document, job)
    create_job(job, { 'tenant', get(drop, 'tenant'), 'kind', 'delete', 'step', 'delete', 'queue', get(drop, 'queue'),
      'collection', get(drop, 'collection'), 'document_id', document, 'params', '{}',
      'traceparent', get(drop, 'traceparent'), 'request_id', get(drop, 'request_id') })
    dispatch(job, get(drop, 'queue'), template)
  elseif state == 'deleting' and not is_open(get(doc_key(document), 'job_id')) then
    -- Its delete failed; the drop tries again.
    set_state(doc_key(document), 'failed')
  elseif not state then
    redis.call('ZREM', documents_key(get(drop, 'tenant'), get(drop, 'collection')), document)
  end
end
return 'ok'
