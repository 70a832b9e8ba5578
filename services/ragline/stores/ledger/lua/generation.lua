-- Whether a collection has a generation: nothing that was promised for it, or for an earlier one, is under way.
local tenant, name, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3])
local col, pending = collection_key(tenant, name), pending_key(tenant, name)
local reached = get(col, 'generation')
if not reached or get(col, 'drop_job') then return { 'no_collection' } end
if wanted > math.max(tonumber(reached), number(col, 'promised')) then return { 'beyond', reached } end
while true do
  local id = redis.call('ZRANGEBYSCORE', pending, '-inf', wanted, 'LIMIT', 0, 1)[1]
  if not id then break end
  if is_open(id) then return { 'pending' } end
  -- Gone, as after a backup that was restored without it: it must not keep readers waiting for ever.
  redis.call('ZREM', pending, id)
end
return { 'reached' }
