#!lua flags=allow-oom
-- Leases due items, the longest waiting first. Which items those are is known only here, so their
-- keys are built here; they carry the journal's tag.
-- KEYS: due and leased queue of every shard, one after the other
-- ARGV: prefix, now, until, max, token, look, clock, offset of every key (#KEYS), ordered states...
local prefix, now, till, max, token, look = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local _, ahead = journal_clock(ARGV[7])
now, till = journal_time(now, ahead), journal_time(till, ahead)
local ordered = {}
for i = 8 + #KEYS, #ARGV do
	ordered[#ordered + 1] = ARGV[i]
end
local chunk = 2 * max + 16
local queues = {}
for k = 1, #KEYS do
	-- fetched is where the next page begins in the queue as it is now, next where it will begin
	-- when what was chosen has left it.
	queues[k] = {fetched = tonumber(ARGV[7 + k]), next = tonumber(ARGV[7 + k]), at = 1, page = {}, done = false}
end
-- head is the first not yet seen of a queue: member and score.
local function head(k)
	local q = queues[k]
	if q.at > #q.page and not q.done then
		q.page = redis.call('ZRANGE', KEYS[k], '-inf', now, 'BYSCORE', 'LIMIT', q.fetched, chunk, 'WITHSCORES')
		q.at = 1
		q.fetched = q.fetched + #q.page / 2
		q.done = #q.page < 2 * chunk
	end
	if q.at > #q.page then
		return nil
	end
	return q.page[q.at], tonumber(q.page[q.at + 1])
end
local function blocked(item, seq)
	if #ordered == 0 then
		return false
	end
	local state, lane = unpack(redis.call('HMGET', item, 'state', 'lane'))
	local held = false
	for _, s in ipairs(ordered) do
		held = held or s == state
	end
	if not held then
		return false
	end
	for _, s in ipairs(ordered) do
		local older = redis.call('ZRANGE', prefix .. 'or:' .. s .. ':' .. lane, 0, 0)
		if older[1] and string.sub(older[1], 1, 12) < seq then
			return true
		end
	end
	return false
end
local chosen, stale, seen = {}, {}, 0
while #chosen < max and seen < look do
	local best, member, score
	for k = 1, #KEYS do
		local m, s = head(k)
		if m and (not best or s < score or s == score and m < member) then
			best, member, score = k, m, s
		end
	end
	if not best then
		break
	end
	local q = queues[best]
	q.at, q.next, seen = q.at + 2, q.next + 1, seen + 1
	local item = prefix .. 'it:' .. string.sub(member, 13)
	if redis.call('HGET', item, 'seq') ~= string.sub(member, 1, 12) then
		stale[#stale + 1] = {best, member}
	elseif not blocked(item, string.sub(member, 1, 12)) then
		chosen[#chosen + 1] = {best, member, item}
		q.next = q.next - 1
	end
end
for _, c in ipairs(stale) do
	redis.call('ZREM', KEYS[c[1]], c[2])
	queues[c[1]].next = queues[c[1]].next - 1
end
local leases = {}
for i, c in ipairs(chosen) do
	local due = c[1] - (c[1] - 1) % 2
	redis.call('ZREM', KEYS[due], c[2])
	redis.call('ZADD', KEYS[due + 1], till, c[2])
	redis.call('HINCRBY', c[3], 'version', 1)
	redis.call('HSET', c[3], 'wake', till, 'token', token)
	local inbox = {}
	if redis.call('HGET', c[3], 'pending') ~= '0' then
		inbox = redis.call('HGETALL', prefix .. 'in:' .. string.sub(c[2], 13))
	end
	leases[i] = {string.sub(c[2], 13), redis.call('HGETALL', c[3]), inbox}
end
local offsets = {}
for k = 1, #KEYS do
	offsets[k] = queues[k].next
end
return {leases, seen >= look and 1 or 0, offsets}
