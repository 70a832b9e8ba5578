-- Records a job that is not an upload and queues its only step. A delete hides its document in the same instant.
local a = cjson.decode(ARGV[1])
local template = ARGV[2]
-- A client that lost the reply sends the call again: the job is there, and may have begun.
if redis.call('EXISTS', job_key(a.job_id)) == 1 then
  return { 'accepted', a.job_id, get(job_key(a.job_id), 'document_id') }
end
if a.collection ~= '' then
  local space = get(collection_key(a.tenant, a.collection), 'space')
  if not space then return { 'no_collection' } end
  if a.space ~= '' and space ~= a.space then return { 'space_mismatch', space } end
end
if a.kind == 'delete' then
  local doc = doc_key(a.document_id)
  if get(doc, 'tenant') ~= a.tenant or get(doc, 'state') == 'deleted' then return { 'no_document' } end
  local running = get(doc, 'job_id')
  if get(doc, 'state') == 'deleting' then return { 'same', running, a.document_id } end
  if is_open(running) then cancel(running, 'superseded', 'replaced by job ' .. a.job_id) end
  local collection = get(doc, 'collection')
  local col = collection_key(a.tenant, collection)
  redis.call('HINCRBY', col, 'chunks', 0 - number(doc, 'chunks'))
  if number(doc, 'version') > 0 then redis.call('HINCRBY', col, 'generation', 1) end
  redis.call('HSET', doc, 'state', 'deleting', 'job_id', a.job_id, 'version', 0, 'chunks', 0, 'error_code', '',
    'error_detail', '', 'updated_at', now_ms())
  -- After a delete that failed, the name may belong to a newer document by now.
  local names = names_key(a.tenant, collection)
  if redis.call('HGET', names, get(doc, 'name')) == a.document_id then redis.call('HDEL', names, get(doc, 'name')) end
  a.collection = collection
end
if a.kind == 'clean' then a.collection = get(doc_key(a.document_id), 'collection') or '' end
create_job(a.job_id, { 'tenant', a.tenant, 'kind', a.kind, 'step', a.step, 'queue', a.queue, 'message', '',
  'collection', a.collection, 'document_id', a.document_id, 'params', a.params, 'traceparent', a.traceparent,
  'request_id', a.request_id })
dispatch(a.job_id, a.queue, template)
return { 'accepted', a.job_id, a.document_id }
