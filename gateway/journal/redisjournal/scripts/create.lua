#!lua
-- Keeps a new item, or returns the first one of its message.
-- KEYS: item, bodies, message, gone, due, state, citizen, lane, seq, shards
-- ARGV: prefix, id, content, created, wake, shard, lane, head, state, doc, events, replay, clock, {name, note, data}...
local prefix, id = ARGV[1], ARGV[2]
local _, ahead = journal_clock(ARGV[13])
local wake = journal_time(ARGV[5], ahead)
local first = redis.call('GET', KEYS[3])
if first then
	local item = prefix .. 'it:' .. first
	if redis.call('HGET', item, 'content') ~= ARGV[3] then
		return {'replay'}
	end
	return {'duplicate', redis.call('HGETALL', item), first}
end
if redis.call('EXISTS', KEYS[1]) == 1 then
	return {'taken'}
end
if ARGV[12] ~= '' and redis.call('EXISTS', KEYS[4]) == 1 then
	return {'gone'}
end
local n = redis.call('INCR', KEYS[9])
local seq, score = string.format('%012d', n), string.format('%d', n)
local member = seq .. id
redis.call('SET', KEYS[3], id)
redis.call('HSET', KEYS[1], 'seq', seq, 'content', ARGV[3], 'updated', ARGV[4], 'wake', wake, 'shard', ARGV[6], 'lane', ARGV[7],
	'head', ARGV[8], 'state', ARGV[9], 'version', '1', 'attempt', '0', 'pending', '0', 'doc', ARGV[10], 'events', ARGV[11])
for i = 14, #ARGV, 3 do
	redis.call('HSET', KEYS[1], 'b:' .. ARGV[i], ARGV[i + 1])
	redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
end
if wake ~= '' then
	redis.call('ZADD', KEYS[5], wake, member)
end
redis.call('ZADD', KEYS[6], score, member)
redis.call('ZADD', KEYS[7], score, member)
redis.call('ZADD', KEYS[8], score, member)
redis.call('SADD', KEYS[10], ARGV[6])
redis.call('DEL', KEYS[4])
return {'kept'}
