// A group of appends as one call of arqonbus_append, and its answer as results in the order of the group.
import type { Row, Statement } from '../../postgres/connection.ts'
import type { Position, StreamKey } from '../../envelope/envelope.ts'
import type { AppendRequest, AppendResult, DedupWindow } from '../store.ts'
import { streamName } from '../stream-name.ts'
import { byteaArray, int4Array, int8Array, readHexes, readIntegers, textArray } from './binary-arrays.ts'

export interface AppendCallOptions {
  readonly dedup: DedupWindow
  readonly nowMs: number
  /** The epoch of streams that begin with this call. */
  readonly newEpoch: number
  /** The newest position acknowledged before in a stream. */
  readonly known: (name: string) => Position | undefined
}

export interface AppendCall {
  readonly statement: Statement
  read(row: Row): AppendAnswer
}

export interface AppendAnswer {
  readonly results: readonly AppendResult[]
  /** Each stream of the group: its row, its name, and the newest position it has now. */
  readonly streams: readonly { readonly row: number; readonly name: string; readonly newest: Position | undefined }[]
}

const text =
  'SELECT stream_rows, epochs, sequences, hashes ' +
  'FROM arqonbus_append($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)'

/** The streams of a group by their place in it, each once, and their tenants likewise. */
function createPlaces() {
  const tenants: string[] = []
  const streams: { key: StreamKey; name: string; tenant: number }[] = []
  const tenantPlaces = new Map<string, number>()
  const streamPlaces = new Map<string, number>()
  function tenantPlace(tenant: string): number {
    let place = tenantPlaces.get(tenant)
    if (place === undefined) {
      place = tenants.push(tenant) - 1
      tenantPlaces.set(tenant, place)
    }
    return place
  }
  return {
    tenants,
    streams,
    place(key: StreamKey): number {
      const name = streamName(key)
      let place = streamPlaces.get(name)
      if (place === undefined) {
        place = streams.push({ key, name, tenant: tenantPlace(key.tenant) }) - 1
        streamPlaces.set(name, place)
      }
      return place
    },
  }
}

const hexOf = (hash: Uint8Array): string => Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString('hex')

/** `group` may be empty when `keys` are given: their streams are made, and raised if they were rolled back. */
export function createAppendCall(
  group: readonly AppendRequest[],
  { dedup, nowMs, newEpoch, known }: AppendCallOptions,
  keys: readonly StreamKey[] = [],
): AppendCall {
  const places = createPlaces()
  for (const key of keys) places.place(key)
  // The server gets each id of a stream once; a repetition within the group has its answer from the first.
  const sent: AppendRequest[] = []
  const sentStreams: number[] = []
  const sentPlaces = new Map<string, number>()
  const placeInSent = group.map((request) => {
    const stream = places.place(request.key)
    const idName = `${stream} ${request.id}`
    const earlier = sentPlaces.get(idName)
    if (earlier !== undefined) return earlier
    sentPlaces.set(idName, sent.length)
    sentStreams.push(stream)
    return sent.push(request) - 1
  })
  const { tenants, streams } = places
  const knowns = streams.map(({ name }) => known(name))

  function read(row: Row): AppendAnswer {
    const rows = readIntegers(row['stream_rows'])
    const epochs = readIntegers(row['epochs'])
    const sequences = readIntegers(row['sequences'])
    const hashes = readHexes(row['hashes'])
    const newest = streams.map((): Position | undefined => undefined)
    const isAnswered = sent.map(() => false)
    const results = group.map((request, i): AppendResult => {
      const place = placeInSent[i]!
      const stream = sentStreams[place]!
      const sequence = sequences[place]!
      if (sequence === 0) return { kind: 'dedup-full' }
      const position = { epoch: epochs[stream]!, sequence: Math.abs(sequence) }
      if (sequence > 0 && !isAnswered[place]) {
        isAnswered[place] = true
        newest[stream] = position
        return { kind: 'stored', position }
      }
      const first = sequence > 0 ? hexOf(sent[place]!.hash) : hashes[place]
      return hexOf(request.hash) === first ? { kind: 'duplicate', position } : { kind: 'conflict' }
    })
    return { results, streams: streams.map(({ name }, i) => ({ row: rows[i]!, name, newest: newest[i] })) }
  }

  return {
    statement: {
      name: 'arqonbus_append',
      text,
      values: [
        textArray(tenants),
        int4Array(streams.map(({ tenant }) => tenant + 1)),
        textArray(streams.map(({ key }) => key.room)),
        textArray(streams.map(({ key }) => key.channel)),
        int8Array(knowns.map((position) => position?.epoch ?? 0)),
        int8Array(knowns.map((position) => position?.sequence ?? 0)),
        int4Array(sentStreams.map((stream) => stream + 1)),
        textArray(sent.map(({ id }) => id)),
        byteaArray(sent.map(({ hash }) => hash)),
        textArray(sent.map(({ sender }) => sender)),
        int8Array(sent.map(({ atMs }) => atMs)),
        int4Array(sent.map(({ frame }) => frame.length)),
        byteaArray(sent.map(({ frame }) => frame)),
        Math.floor(nowMs),
        dedup.maxAgeMs,
        dedup.maxIds,
        newEpoch,
      ],
    },
    read,
  }
}
