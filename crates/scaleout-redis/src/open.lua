-- Makes sure that every stream of a group is in an epoch of this very history, and tells where each stands.
--
-- KEYS: meta, epoch, then each stream.
-- ARGV: layout, expiry (s), prefix of the keys of what streams hold of nodes,
--       then for each stream: its name, epoch and id of the last entry this node saw ('0' '0': none), the epoch this
--       node appended in last ('0': none), the epoch that it knows to be forked ('0': none).
-- Answers {'layout', found}, or for each stream: epoch, last id, what the epoch continues ('-': nothing), opened (1, 0).
local meta, group = KEYS[1], KEYS[2]
local layout, expiry, prefix = ARGV[1], ARGV[2], ARGV[3]
-- The server process and its replication history: another one may have lost or replaced entries. A server that was
-- demoted, lost entries to its new master and was promoted again is the same process with another replication id. It is
-- asked for here and not remembered by connections, since it can change while they last.
local identity = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':'
  .. (string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '')
-- Nodes that sent nothing through a whole epoch of this many seconds are not carried over into the next one.
local FORGET_AFTER = 3600
-- The clock of the server alone: after a flush, a node whose own is slow would open an epoch that is smaller than the
-- one before, and the stream would take what others still append in that one. In microseconds, so that two openings on
-- two sides of a split do not get the same epoch.
local time = redis.call('TIME')
local clock, now = tonumber(time[1]), tonumber(time[1]) * 1000000 + tonumber(time[2])

local found = redis.call('HGET', meta, 'layout')
if not found then
  redis.call('HSET', meta, 'layout', layout)
elseif found ~= layout then
  return {'layout', found}
end

local function text(number) return string.format('%.0f', number) end

local function last_id(key)
  if redis.call('EXISTS', key) == 0 then return nil end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local epoch, id = string.match(info[i + 1], '^(%d+)-(%d+)$')
      return tonumber(epoch), tonumber(id), info[i + 1]
    end
  end
end

-- What the store holds of each node; a 'c' marks what was only carried over from an earlier epoch.
local function carry(from, to, age)
  local held, batch = redis.call('HGETALL', from), {}
  for i = 1, #held, 2 do
    local node, number = held[i], held[i + 1]
    local carried = string.sub(number, 1, 1) == 'c'
    if node ~= '-' and not (carried and age >= FORGET_AFTER) then
      batch[#batch + 1] = node
      batch[#batch + 1] = carried and number or 'c' .. number
    end
    if #batch >= 1000 or (i + 1 >= #held and #batch > 0) then
      redis.call('HSET', to, unpack(batch))
      batch = {}
    end
  end
end

local answer, greatest = {}, 0
for s = 3, #KEYS do
  local key, base = KEYS[s], 3 + (s - 3) * 5
  local name, seen_epoch, seen_id = ARGV[base + 1], tonumber(ARGV[base + 2]), tonumber(ARGV[base + 3])
  local used, forked = ARGV[base + 4], tonumber(ARGV[base + 5])
  local recorded = redis.call('HGET', meta, name)
  local epoch, server, after, since = nil, nil, '-', clock
  if recorded then
    epoch, server, after, since = string.match(recorded, '^(%d+) (%S+) (%S+) (%d+)$')
    epoch, since = tonumber(epoch), tonumber(since)
  end
  local last_epoch, last, last_text = last_id(key)
  local held = prefix .. name .. ':'
  local has_held = epoch and redis.call('EXISTS', held .. text(epoch)) == 1
  local is_same = epoch and last_epoch == epoch and has_held and server == identity
    and epoch >= seen_epoch and epoch ~= forked and not (epoch == seen_epoch and last < seen_id)
  local opened = 0
  if not is_same then
    local next_epoch = math.max(now, (epoch or 0) + 1, seen_epoch + 1, (last_epoch or 0) + 1)
    local next_held = held .. text(next_epoch)
    after = last_text or '-'
    redis.call('XADD', key, text(next_epoch) .. '-0', 'o', identity, 'a', after)
    redis.call('HSET', next_held, '-', '0')
    if last_epoch and has_held then carry(held .. text(epoch), next_held, clock - since) end
    if epoch then redis.call('UNLINK', held .. text(epoch)) end
    epoch, last_text, opened = next_epoch, text(next_epoch) .. '-0', 1
    redis.call('HSET', meta, name, text(epoch) .. ' ' .. identity .. ' ' .. after .. ' ' .. text(clock))
  end
  -- An append that was refused has left its number in the hash of its epoch.
  if used ~= '0' and used ~= text(epoch) then redis.call('UNLINK', held .. used) end
  redis.call('EXPIRE', key, expiry)
  redis.call('EXPIRE', held .. text(epoch), expiry)
  greatest = math.max(greatest, epoch)
  answer[#answer + 1] = text(epoch)
  answer[#answer + 1] = last_text
  answer[#answer + 1] = after
  answer[#answer + 1] = opened
end
redis.call('EXPIRE', meta, expiry)
redis.call('SET', group, text(greatest), 'EX', expiry)
return answer
