-- Finds work that nobody will come back to and queues it again. One sweep at a time: the first caller in a period works.
-- Answers the claims whose lease ran out, how many retries were due and messages had vanished, and documents to be cleaned.
local period_ms, grace_ms, limit, cleaning_limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
if not redis.call('SET', P .. 'sweeper', '1', 'NX', 'PX', period_ms) then return { {}, 0, 0, {} } end
local now, lost, due, vanished = now_ms(), {}, 0, 0
local swept_before = tonumber(redis.call('GET', P .. 'swept') or now)
redis.call('SET', P .. 'swept', now)

-- The first jobs of an index set. An entry whose job is gone, as after a restored backup, must not stop every sweep.
local function jobs_until(set, bound)
  local jobs = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', bound, 'LIMIT', 0, limit)) do
    if is_open(id) then jobs[#jobs + 1] = id else redis.call('ZREM', set, id) end
  end
  return jobs
end

local function dispatch_again(id, reason)
  count('redispatches', reason)
  local job = job_key(id)
  dispatch(id, get(job, 'queue'), get(job, 'message'))
end

-- What a tenant has on a queue must have a message there, or its held jobs would wait for ever.
local function release_held(queue)
  for _, tenant in ipairs(redis.call('SMEMBERS', held_tenants_key(queue))) do
    local own = queued_key(queue, tenant)
    for _, id in ipairs(redis.call('ZRANGE', own, 0, -1)) do
      if not redis.call('ZSCORE', queued_key(queue), id) then redis.call('ZREM', own, id) end
    end
    release(queue, tenant)
  end
end

-- What is known of a claim that nobody will speak for any more.
local function lost_claim(id)
  local row = redis.call('HMGET', job_key(id), 'id', 'step', 'queue', 'tenant', 'document_id', 'worker', 'attempts',
    'request_id', 'traceparent', 'span', 'claimed_at', 'lease_until')
  row[#row + 1] = now
  return row
end

-- While this server was away nobody could renew: claims that ran out meanwhile get the time to be renewed once more, or
-- an outage would count as a crash of every step under way.
if now - swept_before > LEASE_MS then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now)) do
    if is_open(id) then
      redis.call('HSET', job_key(id), 'lease_until', now + LEASE_MS)
      redis.call('ZADD', LEASES, now + LEASE_MS, id)
    end
  end
end

for _, id in ipairs(jobs_until(LEASES, now)) do
  lost[#lost + 1] = lost_claim(id)
  if count_crash(id) then dispatch_again(id, 'lease_expired') end
end

for _, id in ipairs(jobs_until(DELAYED, now)) do
  dispatch_again(id, 'retry_due')
  due = due + 1
end

-- Queues are first in, first out: the messages before the oldest waiting one have left. Answers its sequence number,
-- and the jobs whose messages are among the oldest: kombu puts a message it hands back at either end.
local function oldest_messages(queue)
  local window, oldest, waiting = redis.call('LRANGE', queue, -20, -1), nil, {}
  for i = #window, 1, -1 do
    local seq, id = string.match(window[i], '"delivery_tag": ?"ragline%-(%d+)%-([%w_]+)"')
    if seq then
      waiting[id] = true
      oldest = oldest or tonumber(seq)
    end
  end
  if not oldest and #window < 20 then oldest = tonumber(redis.call('GET', seq_key(queue)) or 0) + 1 end
  return oldest or 0, waiting
end

-- A claim follows delivery within moments. A message that had left its queue a grace period ago, and whose job nobody
-- has claimed since, is lost; how long it waited before says nothing. Two looks, half a period apart, are remembered.
for i = 5, #ARGV do
  local queue = ARGV[i]
  local looks = P .. 'looks:' .. queue
  if number(looks, 'at') + grace_ms / 2 <= now then
    local oldest, waiting = oldest_messages(queue)
    local gone = jobs_until(queued_key(queue), string.format('(%d', number(looks, 'before')))
    for _, id in ipairs(gone) do
      if not waiting[id] then
        dispatch_again(id, 'message_vanished')
        vanished = vanished + 1
      end
    end
    if #gone < limit then
      redis.call('HSET', looks, 'before', number(looks, 'last'), 'last', oldest, 'at', now)
      redis.call('PEXPIRE', looks, 10 * grace_ms)
    end
  end
  release_held(queue)
end

count('sweeps')
return { lost, due, vanished, redis.call('SRANDMEMBER', LITTERED, cleaning_limit) }
