-- Gives a fence back. No claim is needed: whoever was replaced has to give it back too.
local id, token, document = ARGV[1], ARGV[2], ARGV[3]
local fence = fence_key(document)
if redis.call('GET', fence) == id .. ':' .. token then redis.call('DEL', fence) end
return 'ok'
