-- Tells where a stream stands, without its frames.
--
-- KEYS: the stream. Answers the id of its last entry, and the id of the oldest frame of that entry's epoch ('-': none is
-- left); nothing where there is no stream.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
local epoch = string.match(last, '^(%d+)-')
-- The entry with the id 0 opens the epoch, and carries nothing.
local first = redis.call('XRANGE', KEYS[1], epoch .. '-1', epoch .. '-18446744073709551615', 'COUNT', '1')[1]
return {last, first and first[1] or '-'}
