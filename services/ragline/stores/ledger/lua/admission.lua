-- Shared by the scripts that accept work: has it been accepted before, and may more of it wait?

local function idempotency_key(a) return P .. 'idempotency:' .. a.tenant .. ':' .. a.idempotency end

-- The answer that the same request got before, or a refusal when another one used its key.
local function answered_before(a)
  if a.idempotency == '' then return nil end
  local known = redis.call('HMGET', idempotency_key(a), 'request', 'answer')
  if not known[1] then return nil end
  if known[1] ~= a.request then return { 'key_reused' } end
  local answer = cjson.decode(known[2])
  -- Work that was forgotten before its key, or ended in a way that another try may mend, is done again.
  local job = job_key(answer[2])
  local state, kind = get(job, 'state'), get(job, 'kind')
  if not state then return nil end
  if kind ~= 'ingest' and (state == 'cancelled' or get(job, 'error_code') == 'attempts_exhausted') then return nil end
  answer[#answer + 1] = 'repeated'
  return answer
end

local function remember(a, answer)
  if a.idempotency ~= '' then
    redis.call('HSET', idempotency_key(a), 'request', a.request, 'answer', cjson.encode(answer))
    redis.call('PEXPIRE', idempotency_key(a), RETENTION_MS)
  end
  return answer
end

-- Seconds until one more job has left a queue, as fast as jobs left it in this minute and the one before.
local function seconds_to_drain(queue)
  local now = now_ms()
  local minute = math.floor(now / MINUTE_MS)
  local left = 0
  for back = 0, 1 do left = left + tonumber(redis.call('GET', drained_key(queue, minute - back)) or 0) end
  if left == 0 then return 60 end
  return math.max(1, math.ceil((MINUTE_MS + now % MINUTE_MS) / 1000 / left))
end

local function waiting(queue, tenant)
  return redis.call('ZCARD', queued_key(queue, tenant)) + redis.call('ZCARD', held_key(queue, tenant))
    + redis.call('ZCARD', delayed_key(queue, tenant))
end

-- A refusal when too much waits already on one of the queues that the work will go through.
local function backlog_refusal(a)
  for _, queue in ipairs(a.queues) do
    if waiting(queue, a.tenant) >= a.max_backlog_per_tenant then return { 'backlog_full', seconds_to_drain(queue) } end
    if waiting(queue) >= a.max_backlog then return { 'overloaded', seconds_to_drain(queue) } end
  end
end

-- A refusal when the tenant has used up its tokens of this day (UTC).
local function budget_refusal(a)
  if a.tokens_per_day == 0 then return nil end
  local now = now_ms()
  if tonumber(redis.call('GET', tokens_key(a.tenant, now)) or 0) < a.tokens_per_day then return nil end
  return { 'budget_exhausted', math.ceil((DAY_MS - now % DAY_MS) / 1000) }
end
