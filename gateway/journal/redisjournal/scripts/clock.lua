-- Stands at the head of every script that plans. journal_clock reads a caller's clock, in microseconds
-- or as '=' and the journal's own where the callers share it, and returns the journal's now and how
-- far the caller is ahead of it; what lies within a second counts as the same clock.
local function journal_clock(caller)
	if string.sub(caller, 1, 1) == '=' then
		return tonumber(string.sub(caller, 2)), 0
	end
	local t = redis.call('TIME')
	local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
	local ahead = tonumber(caller) - now
	if ahead > -1000000 and ahead < 1000000 then
		ahead = 0
	end
	return now, ahead
end
-- journal_time turns an instant of the caller's clock into one of the journal's; '' stays.
local function journal_time(instant, ahead)
	if instant == '' or ahead == 0 then
		return instant
	end
	return string.format('%d', tonumber(instant) - ahead)
end
