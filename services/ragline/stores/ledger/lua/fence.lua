-- Lets one job at a time change what the vector store holds of a document. A worker takes the fence right before each
-- write; one whose job was replaced is refused, and its successor waits until the last write of the old one is over. Who
-- may only keep it has read what others must not have changed since: a fence that ran out meanwhile is no longer its own.
local id, token, hold_ms, only_keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local document = get(job_key(id), 'document_id')
local fence = fence_key(document)
local holder = redis.call('GET', fence)
local own = id .. ':' .. token
if holder and string.match(holder, '^[^:]+') ~= id then return 'busy' end
if only_keep and holder ~= own then return 'expired' end
-- An earlier claim of the same job ended in the middle of a write, which may land as long as that fence would have held.
if holder and holder ~= own then redis.call('SET', late_write_key(document), '1', 'PX', redis.call('PTTL', fence)) end
redis.call('SET', fence, own, 'PX', hold_ms)
return 'ok'
