-- Notes what a verification found. A damaged document's next upload is worked on although its bytes are known; a littered
-- one is cleaned.
local kind = ARGV[1]
for i = 2, #ARGV do
  local doc = doc_key(ARGV[i])
  if redis.call('EXISTS', doc) == 1 then
    if kind == 'damaged' then redis.call('HSET', doc, 'fingerprint', '') end
    if kind == 'littered' then redis.call('SADD', LITTERED, ARGV[i]) end
  end
end
return 'ok'
