-- Makes a version of a document the visible one. Running it again changes nothing.
local id, token, pages, chunks = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local job = job_key(id)
local document, version = get(job, 'document_id'), get(job, 'version')
local doc = doc_key(document)
if get(doc, 'job_id') ~= id then
  litter(job)
  return 'lost'
end
local col = collection_key(get(doc, 'tenant'), get(doc, 'collection'))
redis.call('HINCRBY', col, 'chunks', chunks - number(doc, 'chunks'))
if get(doc, 'version') ~= version then
  local generation = math.max(number(col, 'generation') + 1, number(job, 'generation'))
  redis.call('HSET', col, 'generation', generation)
  redis.call('HSET', doc, 'generation', generation)
  redis.call('ZREM', pending_key(get(doc, 'tenant'), get(doc, 'collection')), id)
  set_metadata(get(doc, 'tenant'), get(doc, 'collection'), document, get(job, 'metadata') or '')
end
set_state(doc, 'indexed', 'version', version, 'pages', pages, 'chunks', chunks)
return 'ok'
