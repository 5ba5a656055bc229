// What gateways and the bus say to each other beside the clients' own frames (docs/link.md): subjects, headers, and
// the bodies of control messages. Bodies are JSON; each parser takes what the link brought and returns it typed, or
// throws VALIDATION_ERROR / BAD_CONTROL.
import { invalid } from '../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import type { StreamKey, WireFormat } from './envelope.ts'

/** Gateway -> bus. `open`, `close`, `lease` and `read` are requests. */
export const busSubjects = {
  frames: 'in.t.*.raw',
  open: 'ctl.bus.open',
  close: 'ctl.bus.close',
  lease: 'ctl.bus.lease',
  read: 'ctl.bus.read',
} as const

/** Bus -> every gateway, or the one that holds a session. */
export const edgeSubjects = {
  resync: 'ctl.edge.resync',
  heads: 'ctl.edge.heads',
  removed: 'ctl.edge.removed',
  close: (process: string): string => `ctl.edge.close.${process}`,
} as const

export const edgeHeaders = {
  /** Client id. Identity headers must repeat what the session was opened with. */
  session: 'x-arqon-session',
  /** The token's subject, escaped as names are. */
  subject: 'x-arqon-subject',
  role: 'x-arqon-role',
  /** One connection's trace id. */
  trace: 'x-arqon-trace',
  /** Number of a client's frame, from 1; on an answer: all of the answer to that frame has been sent. */
  frame: 'x-arqon-frame',
  /** On a receipt for several frames: the first of them; `frame` names the last. */
  since: 'x-arqon-since',
  /** Counts all messages to a session, from 1: a lost part of an answer is noticed. */
  out: 'x-arqon-out',
  /** Marks a frame that changes memberships: the receipt then tells what became of it. */
  intent: 'x-arqon-intent',
  /** All earlier frames have been answered to the client: the hole before this one is no longer open. */
  reset: 'x-arqon-reset',
  /** The frame number the bus waits for; nothing of the frame named beside it was stored. */
  gap: 'x-arqon-gap',
  /** The bus does not know the session. */
  unknown: 'x-arqon-unknown',
  /** `success` or an error code: how the command of a receipt with an intent ended. */
  status: 'x-arqon-status',
  /** JSON `[[channel, epoch, sequence], …]`: from where live messages follow. */
  joined: 'x-arqon-joined',
  /** On the receipt: how many streams all `joined` headers of this join name together. */
  joinedTotal: 'x-arqon-joined-total',
  /** Of the first message in the body; the others follow without holes. */
  sequence: 'x-arqon-seq',
  epoch: 'x-arqon-epoch',
  /** JSON `[[client id of the publisher, byte length, byte length, …], …]` of the frames laid end to end in the body. */
  live: 'x-arqon-live',
  /** `1` when clients see the position, `0` when nothing is stored and it only orders. */
  positioned: 'x-arqon-positioned',
  /** JSON `[[sequence, sender, byte length], …]` of the frames laid end to end in the body. */
  records: 'x-arqon-records',
  /** Error code of a read that failed. */
  error: 'x-arqon-error',
} as const

export interface MembershipName {
  readonly tenant: string
  readonly room: string
  /** `*` for the whole room. */
  readonly channel: string
}

export interface OpenRequest {
  readonly clientId: string
  readonly tenant: string
  readonly subject: string
  readonly role: string
  readonly permissions?: readonly string[]
  readonly expiresAtMs?: number
  readonly format: WireFormat
  readonly address: string
  readonly connectedAtMs: number
  /** The number of the next frame, where the bus does not hold the session yet. */
  readonly firstFrame: number
  /** What a session that is opened again was a member of. */
  readonly memberships: readonly MembershipName[]
}

export type OpenReply =
  | {
      readonly ok: true
      readonly bus: string
      readonly welcome: JsonObject
      readonly joined: readonly (StreamKey & { epoch: number; sequence: number })[]
      readonly refused: readonly (MembershipName & { code: string })[]
    }
  | { readonly ok: false; readonly code: string }

export interface Head extends StreamKey {
  readonly epoch: number
  readonly last: number
  readonly isPositioned: boolean
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function encodeControl(body: object): Uint8Array {
  return encoder.encode(JSON.stringify(body))
}

/** The object in a control message. */
export function parseControl(data: Uint8Array): JsonObject {
  try {
    const value: unknown = JSON.parse(decoder.decode(data))
    if (isJsonObject(value)) return value
  } catch {
    // told below
  }
  throw bad('body')
}

export function parseOpenRequest(data: Uint8Array): OpenRequest {
  const body = parseControl(data)
  const permissions = body['permissions']
  const expiresAtMs = body['expiresAtMs']
  return {
    clientId: text(body, 'clientId'),
    tenant: text(body, 'tenant'),
    subject: text(body, 'subject'),
    role: text(body, 'role'),
    ...(permissions !== undefined && {
      permissions: list(body, 'permissions').map((one) => (typeof one === 'string' ? one : fail('permissions'))),
    }),
    ...(expiresAtMs !== undefined && { expiresAtMs: numberOf(body, 'expiresAtMs') }),
    format: text(body, 'format') === 'json' ? 'json' : 'protobuf',
    address: text(body, 'address'),
    connectedAtMs: numberOf(body, 'connectedAtMs'),
    firstFrame: numberOf(body, 'firstFrame'),
    memberships: list(body, 'memberships').map((one) => parseMembership(object(one, 'memberships'))),
  }
}

export function parseOpenReply(data: Uint8Array): OpenReply {
  const body = parseControl(data)
  if (body['ok'] !== true) return { ok: false, code: text(body, 'code') }
  return {
    ok: true,
    bus: text(body, 'bus'),
    welcome: object(body['welcome'], 'welcome'),
    joined: list(body, 'joined').map((one) => {
      const entry = object(one, 'joined')
      return { ...parseMembership(entry), epoch: numberOf(entry, 'epoch'), sequence: numberOf(entry, 'sequence') }
    }),
    refused: list(body, 'refused').map((one) => {
      const entry = object(one, 'refused')
      return { ...parseMembership(entry), code: text(entry, 'code') }
    }),
  }
}

export function parseMembership(entry: JsonObject): MembershipName {
  return { tenant: text(entry, 'tenant'), room: text(entry, 'room'), channel: text(entry, 'channel') }
}

export function parseHeads(data: Uint8Array): readonly Head[] {
  return list(parseControl(data), 'heads').map((one) => {
    const entry = object(one, 'heads')
    return {
      ...parseMembership(entry),
      epoch: numberOf(entry, 'epoch'),
      last: numberOf(entry, 'last'),
      isPositioned: entry['isPositioned'] === true,
    }
  })
}

/** The rows of a `joined` header. */
export function parseJoined(header: string): { channel: string; epoch: number; sequence: number }[] {
  return rows(header, 'joined').map(([channel, epoch, sequence]) =>
    typeof channel === 'string' && isCount(epoch) && isCount(sequence) ? { channel, epoch, sequence } : fail('joined'),
  )
}

/** Cuts the frames of a read's answer apart. */
export function parseRecords(
  header: string,
  data: Uint8Array,
): { sequence: number; sender: string; frame: Uint8Array }[] {
  let offset = 0
  return rows(header, 'records').map(([sequence, sender, length]) => {
    if (!isCount(sequence) || typeof sender !== 'string' || !isCount(length)) return fail('records')
    if (offset + length > data.length) return fail('records')
    const frame = data.slice(offset, offset + length)
    offset += length
    return { sequence, sender, frame }
  })
}

export interface LiveFrame {
  readonly sender: string
  readonly frame: Uint8Array
}

/** The `live` header: runs of one sender's messages are named once. */
export function liveHeader(messages: readonly LiveFrame[]): string {
  const runs: (string | number)[][] = []
  let run: (string | number)[] | undefined
  for (const { sender, frame } of messages) {
    if (run === undefined || run[0] !== sender) {
      run = [sender]
      runs.push(run)
    }
    run.push(frame.length)
  }
  return JSON.stringify(runs)
}

/** Cuts live messages apart; the frames are parts of one copy of the body. Throws as all parsers here. */
export function parseLive(header: string, data: Uint8Array): LiveFrame[] {
  const body = data.slice()
  const frames: LiveFrame[] = []
  let offset = 0
  for (const [sender, ...lengths] of rows(header, 'live')) {
    if (typeof sender !== 'string') return fail('live')
    for (const length of lengths) {
      if (!isCount(length) || offset + length > body.length) return fail('live')
      frames.push({ sender, frame: body.subarray(offset, offset + length) })
      offset += length
    }
  }
  return offset === body.length ? frames : fail('live')
}

/** A header's whole number, or undefined. */
export function countOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined
}

export function text(body: JsonObject, name: string): string {
  const value = body[name]
  return typeof value === 'string' ? value : fail(name)
}

export function numberOf(body: JsonObject, name: string): number {
  const value = body[name]
  return isCount(value) ? value : fail(name)
}

function list(body: JsonObject, name: string): readonly JsonValue[] {
  const value = body[name]
  return Array.isArray(value) ? value : fail(name)
}

function object(value: JsonValue | undefined, name: string): JsonObject {
  return isJsonObject(value) ? value : fail(name)
}

function rows(header: string, name: string): readonly JsonValue[][] {
  let value: unknown
  try {
    value = JSON.parse(header)
  } catch {
    return fail(name)
  }
  if (!Array.isArray(value)) return fail(name)
  return value.map((row: unknown) => (Array.isArray(row) ? (row as JsonValue[]) : fail(name)))
}

function isCount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function bad(field: string): Error {
  return invalid('BAD_CONTROL', `control message: ${field} is missing or wrong`, { field })
}

function fail(field: string): never {
  throw bad(field)
}
