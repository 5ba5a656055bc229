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

// KEYS: meta, log, ids, order, sums. ARGV 1 to 5: the epoch of a new stream; the run id of the server as learned on this
// connection; 1 when it fsyncs before it answers; epoch and last of what this process has seen of the stream (or 0).
//
// `life` names the server's life in which something was last written below level disk, and is empty otherwise: another
// life may have lost the end of it. So may a server that has less than was seen, or other entries than meta counts.
const open = `
local meta, log, ids, order, sums = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
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
  if is_new then redis.call('UNLINK', log, ids, order, sums) else redis.call('UNLINK', log, sums) end
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

// Removes from the old end what is over the bounds, about as many records as told. An entry goes with the last of its
// records. Entries are summed up in a list of their own (first, last, bytes, earliest and latest time), because to read
// one costs as much as to store it: only one of which a part is too old, or too many bytes, is taken apart. So `bytes`
// counts an entry whole until then, and `oldest` is no later than the time of the first, but may be that of another.
const trimming = `
local function sum_at(index)
  local sum = redis.call('LINDEX', sums, index)
  if sum then return struct.unpack('<ddddd', sum) end
end
local function trim_inside(now, max_records, max_bytes, max_age, at_most, sum_size)
  local entry = redis.call('XRANGE', log, id_of(first), '+', 'COUNT', 1)[1]
  if not entry then return false end
  local before, left, is_whole = first, 0, true
  each_of(entry, function(sequence, at, size)
    if sequence >= first then left = left + size end
  end)
  if sum_size then bytes = bytes - sum_size + left end
  each_of(entry, function(sequence, at, size)
    if sequence < first then return false end
    local is_over = last - first + 1 > max_records or bytes > max_bytes
    oldest = at
    if first - before >= at_most or (now - at <= max_age and not (is_over and first < last)) then
      is_whole = false
      return true
    end
    first, bytes, left = first + 1, bytes - size, left - size
  end)
  if sum_size and is_whole then redis.call('LPOP', sums)
  elseif sum_size then
    local from, to, _, at, newest_at = sum_at(0)
    redis.call('LSET', sums, 0, struct.pack('<ddddd', from, to, left, at, newest_at))
  end
  return is_whole and first <= last
end
local function learn_oldest()
  local from, _, _, at = sum_at(0)
  if from == first then
    oldest = at
    return
  end
  local entry = redis.call('XRANGE', log, id_of(first), '+', 'COUNT', 1)[1]
  if entry then
    each_of(entry, function(sequence, at)
      oldest = at
      return sequence >= first
    end)
  end
end
local function trim(now, max_records, max_bytes, max_age, at_most)
  local before, bytes_before = first, bytes
  local stop = first + at_most
  while first <= last and first < stop do
    local surplus = last - first + 1 - max_records
    local is_old = now - oldest > max_age
    if surplus <= 0 and bytes <= max_bytes and not is_old then break end
    local from, to, size, at, newest_at = sum_at(0)
    if to and to < first then
      redis.call('LPOP', sums)
    elseif not from or from > first then
      -- Stored before entries were summed up.
      if not trim_inside(now, max_records, max_bytes, max_age, stop - first) then break end
      learn_oldest()
    elseif now - newest_at > max_age or last - to >= max_records or (to < last and bytes - size >= max_bytes) then
      redis.call('LPOP', sums)
      first, bytes = to + 1, bytes - size
      if first <= last then learn_oldest() end
    elseif bytes <= max_bytes and not is_old then
      first, oldest = math.min(first + surplus, stop), math.min(oldest, at)
    else
      if not trim_inside(now, max_records, max_bytes, max_age, stop - first, size) then break end
      learn_oldest()
    end
  end
  if first == before and bytes == bytes_before then return false end
  if first > before then entries = entries - redis.call('XTRIM', log, 'MINID', id_of(first)) end
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

// What is remembered of an id: hash of its payload (16 bytes), when (double), its place in its call (16 bits, the highest
// set), and the sequence at which that call began, in digits; or the sequence itself, without a place, where not all of
// the call was new.
const remembering = `
local function sequence_of(value)
  local high, low = string.byte(value, 25, 26)
  if high < 128 then return tonumber(string.sub(value, 25)) end
  return tonumber(string.sub(value, 27)) + (high - 128) * 256 + low
end`

// ARGV 6 to 14: what is remembered of each record but where its call began (26 bytes); now, the window of ids in ms, how
// many more ids may be remembered, retention (records, bytes, age), 1 where no id stands twice; and of each entry its
// number of records, bytes, time of the first, latest time, 1 where the times are in order (29 bytes). Then the records,
// as entries of the log, and their ids. Answers epoch, first, last, how many were stored, and, unless all were, an
// outcome for each: its sequence when stored, minus its first one when repeated, 0 for a conflict, -2^53 for a full
// window.
const appending = `
local marks, now, window, room = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local blocks = #ARGV[14] / 29
local names_from = 15 + blocks
local count = #ARGV - names_from + 1
-- One look-up and one remembering for all: a call for each would be half of the work.
local known = redis.call('HMGET', ids, unpack(ARGV, names_from))
local is_plain, latest, runs = ARGV[13] == '1' and count <= room, newest, {}
for i = 1, count do
  if known[i] then
    is_plain = false
    break
  end
end
if is_plain then
  for b = 1, blocks do
    local size, bytes_in, at, newest_at, in_order = struct.unpack('<I4dddB', ARGV[14], b * 29 - 28)
    if in_order == 0 or (at < latest and last > 0) then
      is_plain = false
      break
    end
    latest = newest_at
    runs[b] = { value = ARGV[14 + b], count = size, bytes = bytes_in, at = at, newest_at = newest_at }
  end
end
local remembered, outcomes, fresh, times = {}, nil, nil, nil
if is_plain then
  local began = string.format('%.0f', last + 1)
  for i = 1, count do
    remembered[2 * i - 1] = ARGV[names_from + i - 1]
    remembered[2 * i] = string.sub(marks, i * 26 - 25, i * 26) .. began
  end
else
  -- Record by record.
  local here, i, run, next_sequence = {}, 0, nil, last + 1
  outcomes, fresh, times, runs = {}, {}, {}, {}
  for b = 15, names_from - 1 do
    local packed, pos = ARGV[b], 5
    for _ = 1, struct.unpack('<I4', packed) do
      local size, at, id_size, sender_size = struct.unpack('<I4dI2I2', packed, pos)
      i = i + 1
      local id, mark = ARGV[names_from + i - 1], string.sub(marks, i * 26 - 25, i * 26 - 2)
      local earlier = here[id] or known[i]
      if earlier and now - struct.unpack('<d', earlier, 17) < window then
        local is_same = string.sub(earlier, 1, 16) == string.sub(mark, 1, 16)
        outcomes[i], run = is_same and -sequence_of(earlier) or 0, nil
      elseif #fresh >= room then
        outcomes[i], run = -9007199254740992, nil
      else
        local value, n = mark .. string.format('%.0f', next_sequence), #fresh
        here[id], fresh[n + 1], times[n + 1], remembered[2 * n + 1], remembered[2 * n + 2] = value, id, at, id, value
        if not run or run.block ~= b then
          run = { block = b, first = pos, count = 0, bytes = 0, at = at, newest_at = at }
          runs[#runs + 1] = run
        end
        run.last, run.count, run.bytes = pos + 3 + size, run.count + 1, run.bytes + size - 12 - id_size - sender_size
        run.at, run.newest_at = math.min(run.at, at), math.max(run.newest_at, at)
        outcomes[i], next_sequence = next_sequence, next_sequence + 1
      end
      pos = pos + 4 + size
    end
  end
end
local before, failure = last, nil
for i = 1, #runs do
  local r = runs[i]
  local value = r.value or ARGV[r.block]
  -- The usual case passes the argument on as it is: the server hashes every byte of each new string of a script.
  if r.block and (r.first > 5 or r.last < #value) then
    value = struct.pack('<I4', r.count) .. string.sub(value, r.first, r.last)
  end
  local added = redis.pcall('XADD', log, id_of(last + r.count), 'r', value)
  if type(added) == 'table' and added.err then
    -- Somebody else wrote into the log. What is not in it must not be remembered as if it were.
    failure = added
    break
  end
  if last < first then oldest = r.at end
  redis.call('RPUSH', sums, struct.pack('<ddddd', last + 1, last + r.count, r.bytes, r.at, r.newest_at))
  last, entries, bytes = last + r.count, entries + 1, bytes + r.bytes
  if is_plain then newest = r.newest_at end
end
local stored = last - before
if not is_plain then
  for n = 1, stored do
    local sequence = before + n
    if sequence > 1 and times[n] < newest then disorder = sequence else newest = times[n] end
  end
end
if stored > 0 then
  for n = #remembered, 2 * stored + 1, -1 do remembered[n] = nil end
  redis.call('HSET', ids, unpack(remembered))
  local joined = fresh and table.concat(fresh, '\\0', 1, stored)
    or table.concat(ARGV, '\\0', names_from, names_from + stored - 1)
  redis.call('RPUSH', order, struct.pack('<dI4', now, stored) .. joined)
end
forget(now, window, 2)
local is_trimmed = trim(now, tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), count + 64)
if stored > 0 or is_trimmed then save() end
if failure then return failure end
if stored == count then return { epoch, first, last, stored } end
for i = 1, count do outcomes[i] = struct.pack('<d', outcomes[i]) end
return { epoch, first, last, stored, table.concat(outcomes) }`

export const appendScript = script(open, clear, entryReading, trimming, remembering, appending)

/** Answers epoch, first, last. Of a stream that is not there it makes nothing. */
export const headScript = script(
  open,
  `if is_raised then save() if is_damaged then redis.call('UNLINK', log, sums) end end
return { epoch, first, last }`,
)

/** KEYS as above. ARGV: now, window, retention (records, bytes, age). Answers 1 when there may be more to do. */
export const tidyScript = script(
  `local meta, log, ids, order, sums = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
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
