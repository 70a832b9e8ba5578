-- Lets one job at a time change what the vector store holds of a document. A worker takes the fence right before each
-- write; one whose job was replaced is refused, and its successor waits until the last write of the old one is over.
local id, token, hold_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
local fence = fence_key(get(job_key(id), 'document_id'))
local holder = redis.call('GET', fence)
if holder and string.match(holder, '^[^:]+') ~= id then return 'busy' end
redis.call('SET', fence, id .. ':' .. token, 'PX', hold_ms)
return 'ok'
