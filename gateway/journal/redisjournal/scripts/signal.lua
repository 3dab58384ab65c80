#!lua
-- Leaves a message for an item and wakes it at once, whatever the clock of its writer says; a leased
-- item is not woken, its Advance sees the message that is still pending.
-- KEYS: item, inbox, gone
-- ARGV: prefix, id, key, note, body, at, clock ('' for an operator's order: his clock may be any)
local prefix, at = ARGV[1], ARGV[6]
local it = redis.call('HMGET', KEYS[1], 'seq', 'shard', 'wake', 'token', 'updated')
if not it[1] then
	return {'none', redis.call('EXISTS', KEYS[3])}
end
local first = redis.call('HGET', KEYS[2], 'n:' .. ARGV[3])
if first then
	return {'again', first, redis.call('HGET', KEYS[2], 'b:' .. ARGV[3])}
end
local n = redis.call('HINCRBY', KEYS[1], 'signals', 1)
redis.call('HSET', KEYS[2], 'n:' .. ARGV[3], string.format('%d ', n) .. ARGV[4], 'b:' .. ARGV[3], ARGV[5])
redis.call('HINCRBY', KEYS[1], 'pending', 1)
local latest = tonumber(it[5])
if ARGV[7] ~= '' then
	latest = journal_clock(ARGV[7])
end
if tonumber(at) > latest then
	at = string.format('%d', latest)
end
if not it[4] and (it[3] == '' or tonumber(it[3]) > tonumber(at)) then
	redis.call('HSET', KEYS[1], 'wake', at)
	redis.call('ZADD', prefix .. 'due:' .. it[2], at, it[1] .. ARGV[2])
end
return {'kept'}
