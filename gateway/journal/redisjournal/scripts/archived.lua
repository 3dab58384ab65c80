#!lua flags=allow-oom
-- Lets go of bodies that lie in the archive now, if nobody touched the item since.
-- KEYS: item, bodies, staged, finished
-- ARGV: id, version, {name, note, file}...
local it = redis.call('HMGET', KEYS[1], 'version', 'token', 'seq')
if it[1] ~= ARGV[2] or it[2] then
	return {'moved'}
end
for i = 3, #ARGV, 3 do
	if not redis.call('ZSCORE', KEYS[3], ARGV[i + 2]) then
		return {'moved'}
	end
end
for i = 3, #ARGV, 3 do
	redis.call('HSET', KEYS[1], 'b:' .. ARGV[i], ARGV[i + 1] .. ' a ' .. ARGV[i + 2])
	redis.call('HDEL', KEYS[2], ARGV[i])
	redis.call('ZREM', KEYS[3], ARGV[i + 2])
end
redis.call('ZREM', KEYS[4], it[3] .. ARGV[1])
return {'kept'}
