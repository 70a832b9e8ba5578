-- Records an uploaded version of a document and queues its first step, or finds that there is nothing to do.
-- Answers a word, the job, the document and the generation of the collection that will contain it.
local a = cjson.decode(ARGV[1])
local template = ARGV[2]
local now = now_ms()
-- A client that lost the reply sends the call again: the job is there, and may have begun.
if redis.call('EXISTS', job_key(a.job_id)) == 1 then
  local job = job_key(a.job_id)
  local unchanged = get(job, 'state') == 'succeeded' and get(job, 'started_at') == '0'
  return { unchanged and 'unchanged' or 'accepted', a.job_id, get(job, 'document_id'), get(job, 'generation') }
end
local before = answered_before(a)
if before then return before end
local col = collection_key(a.tenant, a.collection)
local space = get(col, 'space')
if space and space ~= a.space then return { 'space_mismatch', space } end
if get(col, 'drop_job') then return { 'dropping' } end

local names = names_key(a.tenant, a.collection)
local id = redis.call('HGET', names, a.name)
local doc = id and doc_key(id)
if doc and get(doc, 'sha256') == a.sha256 and get(doc, 'fingerprint') == a.fingerprint then
  local open = get(doc, 'job_id')
  if is_open(open) and get(job_key(open), 'cancel') == '0' and not is_committed(job_key(open)) then
    redis.call('HSET', job_key(open), 'metadata', a.metadata)
    return remember(a, { 'same', open, id, get(job_key(open), 'generation') })
  end
  -- After a cancelled upload the document is indexed as well, but in an older version than these bytes.
  if get(doc, 'state') == 'indexed' and get(doc, 'version') == get(doc, 'accepted_version') then
    local known = redis.call('HGET', metadata_key(a.tenant, a.collection), id) or ''
    if known ~= a.metadata then
      redis.call('HINCRBY', col, 'generation', 1)
      redis.call('HSET', doc, 'generation', get(col, 'generation'), 'updated_at', now)
      set_metadata(a.tenant, a.collection, id, a.metadata)
    end
    local generation = get(doc, 'generation') or '0'
    create_job(a.job_id, { 'tenant', a.tenant, 'kind', 'ingest', 'step', 'index', 'queue', 'vectorstore',
      'collection', a.collection, 'params', a.params, 'traceparent', a.traceparent, 'request_id', a.request_id,
      'version', get(doc, 'version'), 'document_id', id, 'generation', generation })
    redis.call('HSET', job_key(a.job_id), 'result', cjson.encode({ document_id = id, unchanged = true }))
    close(a.job_id, 'succeeded')
    return remember(a, { 'unchanged', a.job_id, id, generation })
  end
end

local refusal = backlog_refusal(a)
if refusal then return refusal end
if not space then
  local generation = redis.call('GET', last_generation_key(a.tenant)) or 0
  redis.call('HSET', col, 'tenant', a.tenant, 'name', a.collection, 'generation', generation, 'space', a.space,
    'physical', a.physical, 'chunks', 0, 'created_at', now)
  redis.call('SADD', collections_key(a.tenant), a.collection)
end
if not id then
  id = a.document_id
  doc = doc_key(id)
  redis.call('HSET', doc, 'id', id, 'tenant', a.tenant, 'collection', a.collection, 'name', a.name, 'version', 0,
    'accepted_version', 0, 'pages', 0, 'chunks', 0, 'physical', get(col, 'physical'), 'created_at', now, 'metadata', a.metadata)
  redis.call('HSET', names, a.name, id)
  redis.call('ZADD', documents_key(a.tenant, a.collection), now, id)
else
  local job = get(doc, 'job_id')
  if is_open(job) then cancel(job, 'superseded', 'replaced by job ' .. a.job_id) end
end
local version = redis.call('HINCRBY', doc, 'accepted_version', 1)
redis.call('HSET', originals_key(id), version, a.object_key)
set_state(doc, 'accepted', 'job_id', a.job_id, 'sha256', a.sha256, 'size_bytes', a.size_bytes,
  'fingerprint', a.fingerprint, 'error_code', '', 'error_detail', '')
-- Uploads become visible in any order. Each is promised a generation above all that were; whoever demands it waits until
-- no upload with a promise up to it is under way.
local generation = math.max(number(col, 'promised'), number(col, 'generation')) + 1
redis.call('HSET', col, 'promised', generation)
redis.call('ZADD', pending_key(a.tenant, a.collection), generation, a.job_id)
create_job(a.job_id, { 'tenant', a.tenant, 'kind', 'ingest', 'step', 'convert', 'queue', a.queue,
  'collection', a.collection, 'params', a.params, 'traceparent', a.traceparent, 'request_id', a.request_id,
  'version', version, 'document_id', id, 'generation', generation, 'metadata', a.metadata })
dispatch(a.job_id, a.queue, template)
return remember(a, { 'accepted', a.job_id, id, tostring(generation) })
