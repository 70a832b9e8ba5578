-- Records a job that is not an upload and queues its only step. A delete hides its document in the same instant, and a
-- question that was answered before is answered at once.
local a = cjson.decode(ARGV[1])
local template = ARGV[2]
-- A client that lost the reply sends the call again: the job is there, and may have begun.
if redis.call('EXISTS', job_key(a.job_id)) == 1 then
  return { 'accepted', a.job_id, get(job_key(a.job_id), 'document_id') }
end
local before = answered_before(a)
if before then return before end
local col = collection_key(a.tenant, a.collection)
if a.collection ~= '' then
  local space = get(col, 'space')
  if not space or get(col, 'drop_job') then return { 'no_collection' } end
  if a.space ~= '' and space ~= a.space then return { 'space_mismatch', space } end
end
local function create()
  create_job(a.job_id, { 'tenant', a.tenant, 'kind', a.kind, 'step', a.step, 'queue', a.queue, 'collection',
    a.collection, 'document_id', a.document_id, 'params', a.params, 'traceparent', a.traceparent, 'request_id',
    a.request_id, 'answer_key', a.answer_key, 'keep_answer_ms', a.keep_answer_ms })
end

if a.answer_key ~= '' then
  local known = redis.call('HMGET', answer_key(a.tenant, a.answer_key), 'generation', 'profile', 'result', 'events')
  if known[1] and known[1] == get(col, 'generation') and known[2] == redis.call('GET', ANSWERING) then
    create()
    redis.call('HSET', job_key(a.job_id), 'result', known[3], 'cached', 1)
    for _, event in ipairs(cjson.decode(known[4])) do emit(a.job_id, event[1], event[2]) end
    close(a.job_id, 'succeeded')
    count('cached_answers')
    return remember(a, { 'cached', a.job_id, '' })
  end
end
local refusal = a.kind == 'query' and budget_refusal(a) or backlog_refusal(a)
if refusal then return refusal end

if a.kind == 'delete' then
  local doc = doc_key(a.document_id)
  if get(doc, 'tenant') ~= a.tenant or get(doc, 'state') == 'deleted' then return { 'no_document' } end
  if get(doc, 'state') == 'deleting' then return remember(a, { 'same', get(doc, 'job_id'), a.document_id }) end
  hide_document(a.document_id, a.job_id)
  a.collection = get(doc, 'collection')
elseif a.kind == 'clean' then
  redis.call('SREM', LITTERED, a.document_id)
  a.collection = get(doc_key(a.document_id), 'collection') or ''
elseif a.kind == 'drop' then
  redis.call('HSET', col, 'drop_job', a.job_id)
  redis.call('HINCRBY', col, 'generation', 1)
  redis.call('SREM', collections_key(a.tenant), a.collection)
end
create()
dispatch(a.job_id, a.queue, template)
return remember(a, { 'accepted', a.job_id, a.document_id })
