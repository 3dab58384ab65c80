#!lua flags=allow-oom
-- Ends an item with everything that belongs to it. A mark stays for a while, so that no
-- accept journal brings it back.
-- KEYS: item, bodies, inbox, finished, trash, gone, message, citizen
-- ARGV: prefix, id, version, token, at, milliseconds the mark stays, clock
local prefix, id = ARGV[1], ARGV[2]
local _, ahead = journal_clock(ARGV[7])
local at = journal_time(ARGV[5], ahead)
local it = redis.call('HMGET', KEYS[1], 'version', 'token', 'seq', 'shard', 'lane', 'state')
if it[1] ~= ARGV[3] or it[2] ~= ARGV[4] then
	return {'lost'}
end
local member = it[3] .. id
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
	if string.sub(fields[i], 1, 2) == 'b:' then
		local file = string.match(fields[i + 1], ' a (.+)$')
		if file then
			redis.call('ZADD', KEYS[5], at, file)
		end
	end
end
redis.call('SET', KEYS[6], '', 'PX', ARGV[6])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[7])
redis.call('ZREM', KEYS[4], member)
redis.call('ZREM', KEYS[8], member)
redis.call('ZREM', prefix .. 'due:' .. it[4], member)
redis.call('ZREM', prefix .. 'lse:' .. it[4], member)
redis.call('ZREM', prefix .. 'st:' .. it[6] .. ':' .. it[4], member)
redis.call('ZREM', prefix .. 'or:' .. it[6] .. ':' .. it[5], member)
return {'kept'}
