// The scripts that run inside the server, each one atomic step on one stream. They check before they write: a server
// that is full or read-only refuses the first write, and then nothing of the script has happened.
import { createHash } from 'node:crypto'

export interface Script {
  readonly source: string
  readonly sha: string
}

function script(...parts: readonly string[]): Script {
  const source = parts.join('\n')
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

// KEYS: meta, log, ids, order. ARGV 1 to 5: the epoch of a new stream; the run id of the server as learned on this
// connection; 1 when it fsyncs before it answers; epoch and last of what this process has seen of the stream (or 0).
//
// `life` names the server's life in which something was last written below level disk, and is empty otherwise: another
// life may have lost the end of it. So may a server that has less than was seen, or other records than meta counts.
const open = `
local meta, log, ids, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, run, seen_epoch, seen_last = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local life_now = ARGV[3] == '1' and '' or run
local m = redis.call('HMGET', meta, 'epoch', 'last', 'first', 'bytes', 'newest', 'disorder', 'oldest', 'life')
local epoch, last, first, bytes = tonumber(m[1]), tonumber(m[2]), tonumber(m[3]), tonumber(m[4])
local newest, disorder, oldest, life = tonumber(m[5]), tonumber(m[6]), tonumber(m[7]), m[8]
local is_new, is_raised, is_damaged = not epoch, false, false
if is_new then
  epoch, last, first, bytes, newest, disorder, oldest = math.max(base, seen_epoch + 1), 0, 1, 0, 0, 0, 0
else
  is_damaged = redis.call('XLEN', log) ~= last - first + 1
  if is_damaged or (life ~= '' and life ~= run)
    or epoch < seen_epoch or (epoch == seen_epoch and last < seen_last) then
    epoch, is_raised = math.max(base, epoch + 1, seen_epoch + 1), true
  end
end
local function save()
  redis.call('HSET', meta, 'epoch', epoch, 'last', last, 'first', first, 'bytes', bytes, 'newest', newest,
    'disorder', disorder, 'oldest', oldest, 'life', life_now)
end
if is_damaged then
  first, bytes = last + 1, 0
end`

// What is left of a stream whose meta is gone, or does not fit it, would stand in the way of new records.
const clear = `
if is_new or is_damaged then
  save()
  if is_new then redis.call('UNLINK', log, ids, order) else redis.call('UNLINK', log) end
elseif is_raised then
  save()
end`

// Removes from the old end what is over the bounds, at most as many records as told; sizes are in the records.
const trimming = `
local function trim(now, max_records, max_bytes, max_age, at_most)
  local before, done = first, false
  while not done and first <= last and at_most > 0 do
    local over = last - first + 1 - max_records
    if over <= 0 and bytes <= max_bytes and now - oldest <= max_age then break end
    local entries = redis.call('XRANGE', log, string.format('%.0f-0', first), '+', 'COUNT',
      math.min(at_most, math.max(over, 15)) + 1)
    for i = 1, #entries do
      local value = entries[i][2][2]
      local at, id_size, sender_size = struct.unpack('<dI2I2', value)
      local is_over = last - first + 1 > max_records or bytes > max_bytes
      oldest = at
      if now - at <= max_age and not (is_over and first < last) then done = true break end
      if at_most == 0 then break end
      first, bytes, at_most = first + 1, bytes - (#value - 12 - id_size - sender_size), at_most - 1
    end
  end
  if first ~= before then redis.call('XTRIM', log, 'MINID', string.format('%.0f-0', first)) end
  return first ~= before
end
local function forget(now, window, at_most)
  for _ = 1, at_most do
    local entry = redis.call('LINDEX', order, 0)
    if not entry or now - struct.unpack('<d', entry) < window then return false end
    local stamp, names, old = string.sub(entry, 1, 8), {}, {}
    for name in string.gmatch(string.sub(entry, 13), '[^%z]+') do names[#names + 1] = name end
    local values = redis.call('HMGET', ids, unpack(names))
    for i = 1, #names do
      -- One remembered again since has a later time.
      if values[i] and string.sub(values[i], 17, 24) == stamp then old[#old + 1] = names[i] end
    end
    if #old > 0 then redis.call('HDEL', ids, unpack(old)) end
    redis.call('LPOP', order)
  end
  return true
end`

// ARGV 6 to 12: the packed records (packing.ts), now, the window of ids in ms, how many more ids may be remembered,
// retention (records, bytes, age). Answers epoch, first, last, how many were stored, and, unless all were, an outcome
// for each: its sequence when stored, minus its first one when repeated, 0 for a conflict, -2^53 for a full window.
const appending = `
local packed, now, window, room = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local stamp, pos, outcomes, is_plain, failure = struct.pack('<d', now), 1, {}, true, nil
local names, starts, sizes, times, frames = {}, {}, {}, {}, {}
while pos <= #packed do
  local size, at, id_size, sender_size = struct.unpack('<I4dI2I2', packed, pos)
  local i, start = #names + 1, pos + 4
  names[i], starts[i], sizes[i], times[i] = string.sub(packed, start + 12, start + 11 + id_size), start, size, at
  frames[i] = size - 12 - id_size - sender_size
  pos = start + size + 16
end
-- One look-up and one remembering for all: a call for each would be half of the work.
local known, fresh, remembered, here = redis.call('HMGET', ids, unpack(names)), {}, {}, {}
for i = 1, #names do
  local id, start, size, at = names[i], starts[i], sizes[i], times[i]
  local hash, earlier = string.sub(packed, start + size, start + size + 15), here[id] or known[i]
  if earlier and now - struct.unpack('<d', earlier, 17) < window then
    outcomes[i] = string.sub(earlier, 1, 16) == hash and -tonumber(string.sub(earlier, 25)) or 0
    is_plain = false
  elseif #fresh >= room then
    outcomes[i] = -9007199254740992
    is_plain = false
  else
    local sequence = string.format('%.0f', last + 1)
    local added = redis.pcall('XADD', log, sequence .. '-0', 'r', string.sub(packed, start, start + size - 1))
    if type(added) == 'table' and added.err then
      failure = added
      break
    end
    last, bytes = last + 1, bytes + frames[i]
    if first == last then oldest = at end
    if last > 1 and at < newest then disorder = last else newest = at end
    local value, n = hash .. stamp .. sequence, #fresh
    here[id], fresh[n + 1], remembered[2 * n + 1], remembered[2 * n + 2] = value, id, id, value
    outcomes[i] = last
  end
end
if #fresh > 0 then
  redis.call('HSET', ids, unpack(remembered))
  redis.call('RPUSH', order, struct.pack('<dI4', now, #fresh) .. table.concat(fresh, '\\0'))
end
forget(now, window, 2)
trim(now, tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), #names + 64)
if #fresh > 0 then save() end
if failure then return failure end
if is_plain then return { epoch, first, last, #fresh } end
for i = 1, #names do outcomes[i] = struct.pack('<d', outcomes[i]) end
return { epoch, first, last, #fresh, table.concat(outcomes) }`

export const appendScript = script(open, clear, trimming, appending)

/** Answers epoch, first, last. Of a stream that is not there it makes nothing. */
export const headScript = script(
  open,
  `if is_raised then save() if is_damaged then redis.call('UNLINK', log) end end
return { epoch, first, last }`,
)

/** KEYS as above. ARGV: now, window, retention (records, bytes, age). Answers 1 when there may be more to do. */
export const tidyScript = script(
  `local meta, log, ids, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local m = redis.call('HMGET', meta, 'last', 'first', 'bytes', 'oldest')
if not m[1] then return 0 end
local last, first, bytes, oldest = tonumber(m[1]), tonumber(m[2]), tonumber(m[3]), tonumber(m[4])`,
  trimming,
  `local now = tonumber(ARGV[1])
local has_more = forget(now, tonumber(ARGV[2]), 16)
if trim(now, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), 512) then
  redis.call('HSET', meta, 'first', first, 'bytes', bytes, 'oldest', oldest)
  has_more = true
end
return has_more and 1 or 0`,
)

/**
 * KEYS: meta, log. ARGV: the lowest and highest sequence, `oldest` or `newest` for the end to start at, records, bytes
 * of frames, 1 for frames and 0 for places only. Answers epoch, the sequence of the first given, what is packed, and 1
 * when nothing is left. One record is given however large; and never more than 1,024, or 1 MiB and one record.
 */
export const pageScript = script(`
local meta, log = KEYS[1], KEYS[2]
local low, high, is_oldest, limit, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == 'oldest',
  math.min(tonumber(ARGV[4]), 1024), math.min(tonumber(ARGV[5]), 1048576)
local with_frames = ARGV[6] == '1'
local epoch = tonumber(redis.call('HGET', meta, 'epoch')) or 0
local parts, taken, bytes, start = {}, 0, 0, 0
local step = 16
while taken < limit and low <= high do
  local ask = math.min(step, limit - taken)
  step = 64
  local entries
  local low_id, high_id = string.format('%.0f-0', low), string.format('%.0f-0', high)
  if is_oldest then entries = redis.call('XRANGE', log, low_id, high_id, 'COUNT', ask)
  else entries = redis.call('XREVRANGE', log, high_id, low_id, 'COUNT', ask) end
  for i = 1, #entries do
    local value = entries[i][2][2]
    local at, id_size, sender_size = struct.unpack('<dI2I2', value)
    local size = #value - 12 - id_size - sender_size
    bytes = bytes + size
    if taken > 0 and bytes > max_bytes then return { epoch, start, table.concat(parts), 0 } end
    if taken == 0 then start = tonumber(string.match(entries[i][1], '^%d+')) end
    taken = taken + 1
    if with_frames then parts[taken] = struct.pack('<I4', #value) .. value
    else parts[taken] = struct.pack('<dI4', at, size) end
  end
  if #entries < ask then return { epoch, start, table.concat(parts), 1 } end
  local reached = tonumber(string.match(entries[#entries][1], '^%d+'))
  if is_oldest then low = reached + 1 else high = reached - 1 end
end
return { epoch, start, table.concat(parts), low > high and 1 or 0 }`)

/**
 * KEYS: meta, log. ARGV: the earliest and latest time. Answers first, last, and the lowest and highest sequence between
 * the times; or, where the times of the stream are not in order, first, last and nothing more.
 */
export const spanScript = script(`
local meta, log = KEYS[1], KEYS[2]
local m = redis.call('HMGET', meta, 'first', 'last', 'disorder')
if not m[1] then return { 1, 0, 1, 0 } end
local first, last, disorder = tonumber(m[1]), tonumber(m[2]), tonumber(m[3])
if first <= disorder then return { first, last } end
local function at_or_after(time, is_after)
  local low, high = first, last + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = string.format('%.0f-0', middle)
    local entry = redis.call('XRANGE', log, id, id)[1]
    local at = entry and struct.unpack('<d', entry[2][2]) or -math.huge
    if at < time or (is_after and at == time) then low = middle + 1 else high = middle end
  end
  return low
end
local low, high = first, last
if ARGV[1] ~= '' then low = at_or_after(tonumber(ARGV[1]), false) end
if ARGV[2] ~= '' then high = at_or_after(tonumber(ARGV[2]), true) - 1 end
return { first, last, low, high }`)

/** KEYS: order. Answers pairs: a time, and how many ids were remembered then. */
export const countIdsScript = script(`
local entries = redis.call('LRANGE', KEYS[1], 0, -1)
for i = 1, #entries do entries[i] = string.sub(entries[i], 1, 12) end
return table.concat(entries)`)
