-- Gives a fence back: at once, or when a write of an earlier claim can land no more. No claim is needed: whoever was
-- replaced has to give it back too.
local id, token, document = ARGV[1], ARGV[2], ARGV[3]
local fence = fence_key(document)
if redis.call('GET', fence) == id .. ':' .. token then
  redis.call('PEXPIRE', fence, math.max(0, redis.call('PTTL', late_write_key(document))))
end
return 'ok'
