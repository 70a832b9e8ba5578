-- Adds what a process measured, once: the same batch sent again, since no answer had come, changes nothing. Its fields
-- and amounts follow its id.
if not redis.call('SET', P .. 'measured:' .. ARGV[1], '1', 'NX', 'PX', 10 * MINUTE_MS) then return end
for i = 2, #ARGV, 2 do redis.call('HINCRBY', METRICS, ARGV[i], ARGV[i + 1]) end
