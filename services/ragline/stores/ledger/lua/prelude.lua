-- Shared by every script of the ledger. Names of keys that several scripts share are made here; a name that only one
-- script knows stands in that one. keys.py makes those that Python needs.
local P = 'ragline:'
local MINUTE_MS, DAY_MS = 60000, 86400000

local function job_key(id) return P .. 'job:' .. id end
local function events_key(id) return P .. 'job:' .. id .. ':events' end
local function doc_key(id) return P .. 'doc:' .. id end
local function originals_key(id) return doc_key(id) .. ':originals' end
local function collections_key(tenant) return P .. 'collections:' .. tenant end
local function collection_key(tenant, name) return P .. 'collection:' .. tenant .. ':' .. name end
local function documents_key(tenant, name) return collection_key(tenant, name) .. ':documents' end
local function names_key(tenant, name) return collection_key(tenant, name) .. ':names' end
local function metadata_key(tenant, name) return collection_key(tenant, name) .. ':metadata' end
local function pending_key(tenant, name) return collection_key(tenant, name) .. ':pending' end
-- The highest generation of a tenant's collections that are gone: new ones go on from there, so that none of a name comes
-- twice.
local function last_generation_key(tenant) return P .. 'last-generation:' .. tenant end
local function fence_key(id) return doc_key(id) .. ':writer' end
local function late_write_key(id) return doc_key(id) .. ':late-write' end
local function seq_key(queue) return P .. 'seq:' .. queue end
local function queued_key(queue, tenant) return P .. 'queued:' .. queue .. (tenant and ':' .. tenant or '') end
local function held_key(queue, tenant) return P .. 'held:' .. queue .. (tenant and ':' .. tenant or '') end
local function delayed_key(queue, tenant) return P .. 'delayed:' .. queue .. (tenant and ':' .. tenant or '') end
local function workers_key(queue) return P .. 'workers:' .. queue end
local function held_tenants_key(queue) return P .. 'held-tenants:' .. queue end
-- Kombu's: what was delivered and is not finished.
local function unacked_key(queue) return 'unacked:' .. queue end
local LEASES, DELAYED, LITTERED = P .. 'leases', P .. 'delayed', P .. 'littered'

-- Leases use the server's clock, so a worker whose clock is wrong can neither keep nor steal one.
local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function now_ms() return math.floor(now_us() / 1000) end

local function get(key, field) return redis.call('HGET', key, field) end
local function number(key, field) return tonumber(get(key, field) or '0') end

-- Metrics are counted in the same step as what they count; common/metrics.py declares them and their labels.
local METRICS = P .. 'metrics'
local function count(metric, ...)
  redis.call('HINCRBY', METRICS, table.concat({ metric, ... }, '|'), 1)
end

local function observe(metric, label, ms)
  local bucket = 'inf'
  for _, limit in ipairs(BUCKETS()[metric]) do
    if ms <= limit then
      bucket = limit
      break
    end
  end
  count(metric, label, bucket)
  redis.call('HINCRBY', METRICS, metric .. '|' .. label .. '|sum', ms)
end

-- A document is counted in its state; a deleted one is counted no more.
local function count_document(before, after)
  if before == after then return end
  if before and before ~= 'deleted' then redis.call('HINCRBY', METRICS, 'documents|' .. before, -1) end
  if after ~= 'deleted' then count('documents', after) end
end

local function set_state(doc, state, ...)
  count_document(get(doc, 'state'), state)
  redis.call('HSET', doc, 'state', state, 'updated_at', now_ms(), ...)
end

local function emit(id, kind, data)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', MAX_EVENTS, '*', 'type', kind, 'data', data)
end

local function set_document(job, state, ...)
  local doc = get(job, 'document_id')
  -- A job that a newer upload replaced must not speak for the document any more.
  if doc ~= '' and get(doc_key(doc), 'job_id') == get(job, 'id') then
    set_state(doc_key(doc), state, ...)
  end
end

local function is_final(state)
  return state == 'succeeded' or state == 'failed' or state == 'cancelled'
end

local function is_open(id)
  local state = get(job_key(id), 'state')
  return state and not is_final(state)
end

-- Puts one message on a queue. Sequence numbers order the messages of a queue, so that a vanished one can be told
-- from one that still waits.
local function push(id, queue, tenant)
  local seq = redis.call('INCR', seq_key(queue))
  local tag = 'ragline-' .. seq .. '-' .. id
  redis.call('LPUSH', queue, (string.gsub(get(job_key(id), 'message'), '__DELIVERY_TAG__', tag)))
  redis.call('ZADD', queued_key(queue), seq, id)
  redis.call('ZADD', queued_key(queue, tenant), seq, id)
end

-- A job that waits for another try has no message on its queue, and is work for it all the same.
local function delay(id, due)
  local queue, tenant = get(job_key(id), 'queue'), get(job_key(id), 'tenant')
  redis.call('ZADD', DELAYED, due, id)
  for _, key in ipairs({ delayed_key(queue), delayed_key(queue, tenant) }) do
    -- Of jobs that are gone, as after a backup that was restored without them.
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms() - DAY_MS)
    redis.call('ZADD', key, due, id)
    redis.call('PEXPIREAT', key, due + DAY_MS)
  end
end

local function end_delay(id)
  if redis.call('ZREM', DELAYED, id) == 0 then return end
  local queue, tenant = get(job_key(id), 'queue'), get(job_key(id), 'tenant')
  redis.call('ZREM', delayed_key(queue), id)
  redis.call('ZREM', delayed_key(queue, tenant), id)
end

-- Gives a tenant's held jobs the places on the queue that have become free.
local function release(queue, tenant)
  local held = held_key(queue, tenant)
  while redis.call('ZCARD', queued_key(queue, tenant)) < TENANT_SHARE do
    local id = redis.call('ZRANGE', held, 0, 0)[1]
    if not id then
      redis.call('SREM', held_tenants_key(queue), tenant)
      return
    end
    redis.call('ZREM', held, id)
    redis.call('ZREM', held_key(queue), id)
    -- Gone, as after a backup that was restored without it: nothing to put there.
    if is_open(id) then push(id, queue, tenant) end
  end
end

-- Whether what is put on a queue now has to wait for a worker to be started.
local function is_cold(queue, now) return redis.call('ZCOUNT', workers_key(queue), now, '+inf') == 0 end

-- Lets a job wait on a queue. A tenant has few messages on it, its other jobs are held until one of those has left:
-- so nobody waits behind all of another tenant's work.
local function dispatch(id, queue, template)
  local job = job_key(id)
  local tenant, now = get(job, 'tenant'), now_ms()
  end_delay(id)
  redis.call('HSET', job, 'queue', queue, 'message', template, 'step_state', 'queued', 'lease_until', 0, 'retry_at', 0,
    'queued_at', now, 'cold', is_cold(queue, now) and 1 or 0)
  redis.call('ZREM', LEASES, id)
  local own = queued_key(queue, tenant)
  if redis.call('ZCARD', own) < TENANT_SHARE or redis.call('ZSCORE', own, id) then return push(id, queue, tenant) end
  local place = redis.call('INCR', P .. 'place:' .. queue)
  redis.call('ZADD', held_key(queue, tenant), place, id)
  redis.call('ZADD', held_key(queue), place, id)
  redis.call('SADD', held_tenants_key(queue), tenant)
end

-- The job waits no longer: it was claimed, or it has ended.
local function leave_queue(id)
  local job = job_key(id)
  local queue, tenant = get(job, 'queue'), get(job, 'tenant')
  redis.call('ZREM', held_key(queue), id)
  redis.call('ZREM', held_key(queue, tenant), id)
  redis.call('ZREM', queued_key(queue), id)
  if redis.call('ZREM', queued_key(queue, tenant), id) == 1 then release(queue, tenant) end
end

-- Whether an upload's version is the visible one: nothing that happens to its job later takes that back.
local function is_committed(job)
  local doc = doc_key(get(job, 'document_id'))
  return get(job, 'kind') == 'ingest' and get(doc, 'job_id') == get(job, 'id') and get(doc, 'version') == get(job, 'version')
end

local function retention(kind)
  if kind == 'embed' then return EMBED_RETENTION_MS end
  return kind == 'ingest' and INGEST_RETENTION_MS or RETENTION_MS
end

-- Every claim comes to its end in exactly one way.
local function end_claim(job, outcome)
  if get(job, 'step_state') ~= 'leased' then return end
  local step = get(job, 'step')
  count('steps', get(job, 'queue'), step, outcome)
  observe('step_duration', step, now_ms() - number(job, 'claimed_at'))
end

local function count_end(job, state)
  local kind = get(job, 'kind')
  count('jobs_ended', kind, state)
  if state == 'succeeded' then observe('job_duration', kind, now_ms() - number(job, 'created_at')) end
end

local function close(id, state)
  local job = job_key(id)
  end_claim(job, state == 'succeeded' and 'done' or state)
  count_end(job, state)
  leave_queue(id)
  redis.call('ZREM', LEASES, id)
  end_delay(id)
  if get(job, 'kind') == 'ingest' then redis.call('ZREM', pending_key(get(job, 'tenant'), get(job, 'collection')), id) end
  redis.call('HSET', job, 'state', state, 'step_state', 'done', 'finished_at', now_ms(), 'lease_until', 0, 'message', '')
  emit(id, 'done', cjson.encode({ state = state }))
  local ttl = retention(get(job, 'kind'))
  redis.call('PEXPIRE', job, ttl)
  redis.call('PEXPIRE', events_key(id), ttl)
end

local function set_error(id, code, detail)
  redis.call('HSET', job_key(id), 'error_code', code, 'error_detail', detail)
end

-- An upload that ended without becoming visible leaves chunks and files behind, and so does a delete that failed;
-- somebody has to clear them away.
local function litter(job)
  local doc, kind = get(job, 'document_id'), get(job, 'kind')
  if (kind == 'ingest' or kind == 'delete') and doc ~= '' then redis.call('SADD', LITTERED, doc) end
end

-- A collection whose deletion ended half-way is there again, with the documents it still has.
local function undo_drop(job)
  if get(job, 'kind') ~= 'drop' then return end
  local tenant, name = get(job, 'tenant'), get(job, 'collection')
  redis.call('HDEL', collection_key(tenant, name), 'drop_job')
  redis.call('SADD', collections_key(tenant), name)
end

local function fail(id, code, detail)
  local job = job_key(id)
  litter(job)
  undo_drop(job)
  set_error(id, code, detail)
  set_document(job, is_committed(job) and 'indexed' or 'failed', 'error_code', code, 'error_detail', detail)
  count('job_failures', get(job, 'kind'), code)
  emit(id, 'error', cjson.encode({ code = code, detail = detail }))
  close(id, 'failed')
end

-- A cancelled upload leaves the version that was visible before it.
local function cancel(id, code, detail)
  local job = job_key(id)
  litter(job)
  set_error(id, code, detail)
  local doc = get(job, 'document_id')
  if get(job, 'kind') == 'ingest' and doc ~= '' then
    local visible = number(doc_key(doc), 'version') > 0
    set_document(job, visible and 'indexed' or 'cancelled', 'error_code', code, 'error_detail', detail)
  end
  close(id, 'cancelled')
end

local function cancel_on_request(id) cancel(id, 'cancelled', 'cancelled on request') end

-- 'ok' while this token holds the claim. A job that was asked to end does so with the first look at its claim.
local function claim_state(id, token)
  local job = job_key(id)
  if get(job, 'token') ~= token then return 'lost' end
  if get(job, 'state') == 'cancelled' then return 'cancelled' end
  if get(job, 'step_state') ~= 'leased' then return 'lost' end
  if get(job, 'cancel') == '1' then
    cancel_on_request(id)
    return 'cancelled'
  end
  return 'ok'
end

-- Every effect of a worker asks first, so a zombie changes nothing. What it wrote elsewhere before it asked may have come
-- after the job that replaced its own, or after the cleaning that followed a cancellation: it is to be cleaned.
local function check_claim(id, token)
  local state = claim_state(id, token)
  if state ~= 'ok' then litter(job_key(id)) end
  return state
end

local function create_job(id, fields)
  local job = job_key(id)
  redis.call('HSET', job, 'id', id, 'state', 'queued', 'step_state', 'queued', 'token', 0, 'attempts', 0,
    'interruptions', 0, 'crashes', 0, 'progress_done', 0, 'progress_total', 0, 'progress_unit', '', 'cancel', 0,
    'created_at', now_ms(), 'started_at', 0, 'finished_at', 0, 'checkpoint', '', 'result', '', 'worker', '',
    'message', '', 'error_code', '', 'error_detail', '', 'document_id', '', 'collection', '', 'version', 0,
    'generation', 0, unpack(fields))
  count('jobs_accepted', get(job, 'kind'))
end

-- Jobs that left a queue in one minute: says how fast it drains.
local function drained_key(queue, minute) return P .. 'drained:' .. queue .. ':' .. minute end

local function count_drained(queue, now)
  local key = drained_key(queue, math.floor(now / MINUTE_MS))
  redis.call('INCR', key)
  redis.call('PEXPIRE', key, 3 * MINUTE_MS)
end

-- Tokens of the chat model that a tenant used on one day (UTC).
local function tokens_key(tenant, now) return P .. 'tokens:' .. tenant .. ':' .. math.floor(now / DAY_MS) end

local function spend(tenant, tokens)
  local key = tokens_key(tenant, now_ms())
  redis.call('INCRBY', key, tokens)
  redis.call('PEXPIRE', key, 2 * DAY_MS)
end

-- Answers that may be given again, by what was asked; and what decides an answer beside question and documents, as the
-- worker said that started or answered last.
local function answer_key(tenant, key) return P .. 'answer:' .. tenant .. ':' .. key end
local ANSWERING = P .. 'answering'

-- What questions may filter by: the metadata of a document's visible version.
local function set_metadata(tenant, collection, document, metadata)
  redis.call('HSET', doc_key(document), 'metadata', metadata)
  if metadata == '' then
    redis.call('HDEL', metadata_key(tenant, collection), document)
  else
    redis.call('HSET', metadata_key(tenant, collection), document, metadata)
  end
end

-- Takes a document out of sight and out of the way of its name, for a job that will delete it.
local function hide_document(document, by_job)
  local doc = doc_key(document)
  local tenant, collection = get(doc, 'tenant'), get(doc, 'collection')
  local running = get(doc, 'job_id')
  if is_open(running) then cancel(running, 'superseded', 'replaced by job ' .. by_job) end
  local col = collection_key(tenant, collection)
  redis.call('HINCRBY', col, 'chunks', 0 - number(doc, 'chunks'))
  if number(doc, 'version') > 0 then redis.call('HINCRBY', col, 'generation', 1) end
  set_state(doc, 'deleting', 'job_id', by_job, 'version', 0, 'chunks', 0, 'error_code', '', 'error_detail', '')
  redis.call('HDEL', metadata_key(tenant, collection), document)
  -- After a delete that failed, the name may belong to a newer document by now.
  local names = names_key(tenant, collection)
  if redis.call('HGET', names, get(doc, 'name')) == document then redis.call('HDEL', names, get(doc, 'name')) end
end

-- A lease ran out: its worker died, froze or was cut off. True when the job may go on.
local function count_crash(id)
  local job = job_key(id)
  local crashes = redis.call('HINCRBY', job, 'crashes', 1)
  end_claim(job, 'lost')
  redis.call('HSET', job, 'step_state', 'lost')
  if get(job, 'cancel') == '1' then
    cancel_on_request(id)
    return false
  end
  if crashes >= MAX_CRASHES then
    fail(id, 'quarantined', 'workers were lost ' .. crashes .. ' times in step ' .. get(job, 'step'))
    return false
  end
  return true
end
