#!lua flags=allow-oom
-- Records the outcome of the work done under a lease.
-- KEYS: item, bodies, inbox, finished, trash
-- ARGV: prefix, id, version, token, state, attempt, wake, doc, at, events, seen, clock,
--       number, consumed keys..., number, {name, note, data}..., number, erased names...
local prefix, id, state = ARGV[1], ARGV[2], ARGV[5]
local _, ahead = journal_clock(ARGV[12])
local wake, at = journal_time(ARGV[7], ahead), journal_time(ARGV[9], ahead)
local it = redis.call('HMGET', KEYS[1], 'version', 'token', 'seq', 'shard', 'lane', 'state', 'pending', 'events')
if it[1] ~= ARGV[3] or it[2] ~= ARGV[4] then
	return {'lost'}
end
local member, score = it[3] .. id, string.format('%d', tonumber(it[3]))
local pending = tonumber(it[7])
-- A signal that arrived while the step ran must not wait for the planned wake time.
if pending > tonumber(ARGV[11]) then
	wake = at
end
local p = 13
for i = p + 1, p + tonumber(ARGV[p]) do
	pending = pending - redis.call('HDEL', KEYS[3], 'b:' .. ARGV[i])
end
p = p + tonumber(ARGV[p]) + 1
-- What lies in the archive under a note that changes is given up: its file goes to the trash.
local function leave(name)
	local note = redis.call('HGET', KEYS[1], 'b:' .. name)
	local file = note and string.match(note, ' a (.+)$')
	if file then
		redis.call('ZADD', KEYS[5], at, file)
	end
	return note
end
for i = p + 1, p + 3 * tonumber(ARGV[p]), 3 do
	leave(ARGV[i])
	redis.call('HSET', KEYS[1], 'b:' .. ARGV[i], ARGV[i + 1])
	redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
end
p = p + 3 * tonumber(ARGV[p]) + 1
for i = p + 1, p + tonumber(ARGV[p]) do
	local note = leave(ARGV[i])
	if note then
		redis.call('HSET', KEYS[1], 'b:' .. ARGV[i], string.match(note, '^%x+ %d+') .. ' e')
		redis.call('HDEL', KEYS[2], ARGV[i])
	end
end
local events = it[8]
if ARGV[10] ~= '' then
	if events ~= '' then
		events = events .. '\n'
	end
	events = events .. ARGV[10]
end
redis.call('HSET', KEYS[1], 'state', state, 'attempt', ARGV[6], 'wake', wake, 'doc', ARGV[8], 'updated', at,
	'pending', string.format('%d', pending), 'events', events)
redis.call('HDEL', KEYS[1], 'token')
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('ZREM', prefix .. 'lse:' .. it[4], member)
if wake ~= '' then
	redis.call('ZADD', prefix .. 'due:' .. it[4], wake, member)
end
if state ~= it[6] then
	redis.call('ZREM', prefix .. 'st:' .. it[6] .. ':' .. it[4], member)
	redis.call('ZADD', prefix .. 'st:' .. state .. ':' .. it[4], score, member)
	redis.call('ZREM', prefix .. 'or:' .. it[6] .. ':' .. it[5], member)
	redis.call('ZADD', prefix .. 'or:' .. state .. ':' .. it[5], score, member)
end
if state == 'closed' or state == 'erased' then
	redis.call('ZADD', KEYS[4], at, member)
else
	redis.call('ZREM', KEYS[4], member)
end
return {'kept'}
