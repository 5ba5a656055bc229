// The scripts that run inside the server, each one atomic step on one stream. They check before they write: a server
// that is full or read-only refuses the first write, and then nothing of the script has happened.
import { createHash } from 'node:crypto'

export interface Script {
  readonly source: string
  readonly sha: string
}

export function script(...parts: readonly string[]): Script {
  const source = parts.join('\n')
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

// KEYS: meta, log, ids, order. ARGV 1 to 5: the epoch of a new stream; the run id of the server as learned on this
// connection; 1 when it fsyncs before it answers; epoch and last of what this process has seen of the stream (or 0).
//
// `life` names the server's life in which something was last written below level disk, and is empty otherwise: another
// life may have lost the end of it. So may a server that has less than was seen, or other entries than meta counts.
const open = `
local meta, log, ids, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, run, seen_epoch, seen_last = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local life_now = ARGV[3] == '1' and '' or run
local m = redis.call('HMGET', meta, 'epoch', 'last', 'first', 'bytes', 'newest', 'disorder', 'oldest', 'life', 'entries')
local epoch, last, first, bytes = tonumber(m[1]), tonumber(m[2]), tonumber(m[3]), tonumber(m[4])
local newest, disorder, oldest, life, entries = tonumber(m[5]), tonumber(m[6]), tonumber(m[7]), m[8], tonumber(m[9])
local is_new, is_raised, is_damaged = not epoch, false, false
if is_new then
  epoch, last, first, bytes = math.max(base, seen_epoch + 1), 0, 1, 0
  newest, disorder, oldest, entries = 0, 0, 0, 0
else
  is_damaged = redis.call('XLEN', log) ~= entries
  if is_damaged or (life ~= '' and life ~= run)
    or epoch < seen_epoch or (epoch == seen_epoch and last < seen_last) then
    epoch, is_raised = math.max(base, epoch + 1, seen_epoch + 1), true
  end
end
local function save()
  redis.call('HSET', meta, 'epoch', epoch, 'last', last, 'first', first, 'bytes', bytes, 'newest', newest,
    'disorder', disorder, 'oldest', oldest, 'life', life_now, 'entries', entries)
end
if is_damaged then
  first, bytes, entries = last + 1, 0, 0
end`

// What is left of a stream whose meta is gone, or does not fit it, would stand in the way of new records.
const clear = `
if is_new or is_damaged then
  save()
  if is_new then redis.call('UNLINK', log, ids, order) else redis.call('UNLINK', log) end
elseif is_raised then
  save()
end`

// One entry of the log holds the records that one append stored together, so that a record costs no command of its own:
// their number (32 bits), then each as on its way (packing.ts). Its id is the sequence of its last.
const entryReading = `
local function each_of(entry, visit)
  local value, count = entry[2][2], struct.unpack('<I4', entry[2][2])
  local sequence, pos = tonumber(string.match(entry[1], '^%d+')) - count + 1, 5
  for _ = 1, count do
    local size, at, id_size, sender_size = struct.unpack('<I4dI2I2', value, pos)
    if visit(sequence, at, size - 12 - id_size - sender_size, value, pos, size) then return end
    sequence, pos = sequence + 1, pos + 4 + size
  end
end
local function id_of(sequence) return string.format('%.0f-0', sequence) end`

// Removes from the old end what is over the bounds, at most as many records as told; sizes are in the records. An entry
// goes with the last of its records.
const trimming = `
local function trim(now, max_records, max_bytes, max_age, at_most)
  local before, is_done = first, false
  while not is_done and first <= last and at_most > 0 do
    if last - first + 1 <= max_records and bytes <= max_bytes and now - oldest <= max_age then break end
    local entry = redis.call('XRANGE', log, id_of(first), '+', 'COUNT', 1)[1]
    if not entry then break end
    each_of(entry, function(sequence, at, size)
      if sequence < first then return false end
      local is_over = last - first + 1 > max_records or bytes > max_bytes
      oldest = at
      is_done = at_most == 0 or (now - at <= max_age and not (is_over and first < last))
      if is_done then return true end
      first, bytes, at_most = first + 1, bytes - size, at_most - 1
    end)
  end
  if first == before then return false end
  -- Where an entry ended exactly, the time of the next is still to be learned.
  if not is_done and first <= last then
    local entry = redis.call('XRANGE', log, id_of(first), '+', 'COUNT', 1)[1]
    if entry then
      each_of(entry, function(sequence, at)
        oldest = at
        return sequence >= first
      end)
    end
  end
  entries = entries - redis.call('XTRIM', log, 'MINID', id_of(first))
  return true
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

// ARGV 6 to 12: the hashes of the records, now, the window of ids in ms, how many more ids may be remembered, retention
// (records, bytes, age); from 13 on the records, as entries of the log. Answers epoch, first, last, how many were stored,
// and, unless all were, an outcome for each: its sequence when stored, minus its first one when repeated, 0 for a
// conflict, -2^53 for a full window.
const appending = `
local hashes, now, window, room = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local stamp, count = struct.pack('<d', now), 0
local names, blocks, starts, ends, times, sizes = {}, {}, {}, {}, {}, {}
for b = 13, #ARGV do
  local packed, pos = ARGV[b], 5
  for _ = 1, struct.unpack('<I4', packed) do
    local size, at, id_size, sender_size = struct.unpack('<I4dI2I2', packed, pos)
    count = count + 1
    names[count], blocks[count] = string.sub(packed, pos + 16, pos + 15 + id_size), b
    starts[count], ends[count] = pos, pos + 3 + size
    times[count], sizes[count] = at, size - 12 - id_size - sender_size
    pos = pos + 4 + size
  end
end
-- One look-up and one remembering for all: a call for each would be half of the work.
local known, here, outcomes, is_plain = redis.call('HMGET', ids, unpack(names)), {}, {}, true
local fresh, remembered, runs, run, next_sequence = {}, {}, {}, nil, last + 1
for i = 1, count do
  local id, hash = names[i], string.sub(hashes, i * 16 - 15, i * 16)
  local earlier = here[id] or known[i]
  if earlier and now - struct.unpack('<d', earlier, 17) < window then
    outcomes[i] = string.sub(earlier, 1, 16) == hash and -tonumber(string.sub(earlier, 25)) or 0
    is_plain, run = false, nil
  elseif #fresh >= room then
    outcomes[i] = -9007199254740992
    is_plain, run = false, nil
  else
    local value, n = hash .. stamp .. string.format('%.0f', next_sequence), #fresh
    here[id], fresh[n + 1], remembered[2 * n + 1], remembered[2 * n + 2] = value, i, id, value
    if not run or run.block ~= blocks[i] then
      run = { block = blocks[i], first = starts[i], count = 0 }
      runs[#runs + 1] = run
    end
    run.last, run.count = ends[i], run.count + 1
    outcomes[i], next_sequence = next_sequence, next_sequence + 1
  end
end
local before, failure = last, nil
for i = 1, #runs do
  local r = runs[i]
  local value = ARGV[r.block]
  -- The usual case passes the argument on as it is: the server hashes every byte of each new string of a script.
  if r.first > 5 or r.last < #value then
    value = struct.pack('<I4', r.count) .. string.sub(value, r.first, r.last)
  end
  local added = redis.pcall('XADD', log, id_of(last + r.count), 'r', value)
  if type(added) == 'table' and added.err then
    -- Somebody else wrote into the log. What is not in it must not be remembered as if it were.
    failure = added
    break
  end
  last, entries = last + r.count, entries + 1
end
local stored, fresh_names = last - before, {}
for n = 1, stored do
  local i, sequence = fresh[n], before + n
  bytes, fresh_names[n] = bytes + sizes[i], names[i]
  if sequence == first then oldest = times[i] end
  if sequence > 1 and times[i] < newest then disorder = sequence else newest = times[i] end
end
for n = 2 * stored + 1, #remembered do remembered[n] = nil end
if stored > 0 then
  redis.call('HSET', ids, unpack(remembered))
  redis.call('RPUSH', order, struct.pack('<dI4', now, stored) .. table.concat(fresh_names, '\\0'))
end
forget(now, window, 2)
trim(now, tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), count + 64)
if stored > 0 then save() end
if failure then return failure end
if is_plain then return { epoch, first, last, stored } end
for i = 1, count do outcomes[i] = struct.pack('<d', outcomes[i]) end
return { epoch, first, last, stored, table.concat(outcomes) }`

export const appendScript = script(open, clear, entryReading, trimming, appending)

/** Answers epoch, first, last. Of a stream that is not there it makes nothing. */
export const headScript = script(
  open,
  `if is_raised then save() if is_damaged then redis.call('UNLINK', log) end end
return { epoch, first, last }`,
)

/** KEYS as above. ARGV: now, window, retention (records, bytes, age). Answers 1 when there may be more to do. */
export const tidyScript = script(
  `local meta, log, ids, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local m = redis.call('HMGET', meta, 'last', 'first', 'bytes', 'oldest', 'entries')
if not m[1] then return 0 end
local last, first, bytes, oldest, entries = tonumber(m[1]), tonumber(m[2]), tonumber(m[3]), tonumber(m[4]), tonumber(m[5])`,
  entryReading,
  trimming,
  `local now = tonumber(ARGV[1])
local has_more = forget(now, tonumber(ARGV[2]), 16)
if trim(now, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), 512) then
  redis.call('HSET', meta, 'first', first, 'bytes', bytes, 'oldest', oldest, 'entries', entries)
  has_more = true
end
return has_more and 1 or 0`,
)

/**
 * KEYS: meta, log. ARGV: the lowest and highest sequence, `oldest` or `newest` for the end to start at, records, bytes
 * of frames, 1 for frames and 0 for places only. Answers epoch, the sequence of the first given, what is packed, and 1
 * when nothing is left. One record is given however large; and never more than 1,024, or 1 MiB and one record.
 */
export const pageScript = script(
  entryReading,
  `
local meta, log = KEYS[1], KEYS[2]
local low, high, is_oldest, limit, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == 'oldest',
  math.min(tonumber(ARGV[4]), 1024), math.min(tonumber(ARGV[5]), 1048576)
local with_frames = ARGV[6] == '1'
local m = redis.call('HMGET', meta, 'epoch', 'first', 'last')
if not m[1] then return { 0, 0, '', 1 } end
local epoch, parts, taken, bytes, start, is_full = tonumber(m[1]), {}, 0, 0, 0, limit < 1
low, high = math.max(low, tonumber(m[2])), math.min(high, tonumber(m[3]))
local function take(sequence, at, size, value, pos, whole)
  bytes = bytes + size
  if taken > 0 and bytes > max_bytes then
    is_full = true
    return true
  end
  if taken == 0 then start = sequence end
  taken = taken + 1
  if with_frames then parts[taken] = string.sub(value, pos, pos + 3 + whole)
  else parts[taken] = struct.pack('<dI4', at, size) end
  is_full = taken == limit
  if is_oldest then low = sequence + 1 else high = sequence - 1 end
  return is_full
end
while not is_full and low <= high do
  -- The entry that holds a sequence is the first one that ends at it or later.
  local entry = redis.call('XRANGE', log, id_of(is_oldest and low or high), '+', 'COUNT', 1)[1]
  if not entry then break end
  local inside, before = {}, taken
  each_of(entry, function(sequence, at, size, value, pos, whole)
    if sequence > high then return true end
    if sequence >= low then
      if is_oldest then return take(sequence, at, size, value, pos, whole) end
      inside[#inside + 1] = { sequence, at, size, value, pos, whole }
    end
  end)
  for i = #inside, 1, -1 do
    if take(unpack(inside[i])) then break end
  end
  if taken == before then break end
end
return { epoch, start, table.concat(parts), is_full and low <= high and 0 or 1 }`,
)

/**
 * KEYS: meta, log. ARGV: the earliest and latest time. Answers first, last, and the lowest and highest sequence between
 * the times; or, where the times of the stream are not in order, first, last and nothing more.
 */
export const spanScript = script(
  entryReading,
  `
local meta, log = KEYS[1], KEYS[2]
local m = redis.call('HMGET', meta, 'first', 'last', 'disorder')
if not m[1] then return { 1, 0, 1, 0 } end
local first, last, disorder = tonumber(m[1]), tonumber(m[2]), tonumber(m[3])
if first <= disorder then return { first, last } end
-- Most steps of a search end in one entry, which is taken apart once.
local times = {}
local function time_of(sequence)
  if not times[sequence] then
    local entry = redis.call('XRANGE', log, id_of(sequence), '+', 'COUNT', 1)[1]
    if entry then each_of(entry, function(inside, at) times[inside] = at end) end
  end
  return times[sequence] or -math.huge
end
local function at_or_after(time, is_after)
  local low, high = first, last + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = time_of(middle)
    if at < time or (is_after and at == time) then low = middle + 1 else high = middle end
  end
  return low
end
local low, high = first, last
if ARGV[1] ~= '' then low = at_or_after(tonumber(ARGV[1]), false) end
if ARGV[2] ~= '' then high = at_or_after(tonumber(ARGV[2]), true) - 1 end
return { first, last, low, high }`,
)

/** KEYS: order. Answers pairs: a time, and how many ids were remembered then. */
export const countIdsScript = script(`
local entries = redis.call('LRANGE', KEYS[1], 0, -1)
for i = 1, #entries do entries[i] = string.sub(entries[i], 1, 12) end
return table.concat(entries)`)
