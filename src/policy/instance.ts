// One instance of a policy module and the host it sees. A call writes the frame to [0, len), asks, and puts back what
// stood there. Whatever the module does, a call ends in an outcome; after one that broke off, or was rejected in the
// middle, the instance is not to be used again.
import type { AddedHeaders } from './policy.ts'
import { checkExport, type HostFunction, importModules, initializeExport, memoryExport } from './abi.ts'

/** What a module may ask about the frame it judges. */
export interface CallInput {
  readonly frame: Uint8Array
  readonly payload: Uint8Array | undefined
  readonly headers: Readonly<Record<string, string>>
  /** By claim name. */
  claim(name: string): string | undefined
}

export type Failure =
  // The module's doing.
  | 'TRAP'
  | 'OUT_OF_FUEL'
  | 'STACK_OVERFLOW'
  | 'BAD_POINTER'
  | 'START_FAILED'
  | 'TIMEOUT'
  | 'FRAME_TOO_LARGE'
  // It was not asked, or its answer is lost.
  | 'CIRCUIT_OPEN'
  | 'BUSY'
  | 'THREAD_LOST'
  | 'CLOSED'

export type Outcome =
  | { readonly kind: 'allow'; readonly headers?: AddedHeaders }
  | { readonly kind: 'deny'; readonly reason?: string; readonly isBroken?: boolean }
  | { readonly kind: 'failure'; readonly failure: Failure; readonly isBroken: boolean }

export interface LogLine {
  /** 0 error, 1 warn, 2 info, 3 debug, 4 trace. */
  readonly level: number
  readonly text: string
}

export interface InstanceOptions {
  readonly module: WebAssembly.Module
  readonly fuelExport?: string
  readonly fuel: number
  readonly log: (line: LogLine) => void
}

export interface PolicyInstance {
  call(input: CallInput): Outcome
  /** Of the last call; 0 where there is no meter. */
  readonly fuelUsed: number
}

export const absent = -1
export const tooLong = -2
/** There is no capacity in the original's call: a module has to have this much room. */
export const maxHeaderBytes = 1_024
const maxNameBytes = 64
const maxReasonBytes = 256
const maxLogBytes = 512
const maxLogsPerCall = 4
const maxAdded = 8
const maxAddedBytes = 256
const addedName = /^x-policy-[a-z0-9-]{1,48}$/
const addedValue = /^[\x20-\x7e]*$/
const hostCallFuel = 500
const bytesPerFuel = 4

/** Ends a call from inside a host function. */
class Rejected extends Error {}
class HostFault extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure)
    this.failure = failure
  }
}

const allow: Outcome = Object.freeze({ kind: 'allow' })
const deny: Outcome = Object.freeze({ kind: 'deny' })
const encoder = new TextEncoder()
const decoder = new TextDecoder()
/** Shared by all instances of the thread: nothing waits between saving and putting back. */
let saved = new Uint8Array(65_536)

/** Throws what the module's start function, or its `_initialize`, throws. */
export function createInstance({ module, fuelExport, fuel, log }: InstanceOptions): PolicyInstance {
  let input: CallInput | undefined
  let reason: string | undefined
  let ending: Rejected | HostFault | undefined
  let added: Record<string, string> | undefined
  let addedCount = 0
  let logs = 0
  let memory: WebAssembly.Memory | undefined
  let view = new Uint8Array(0)
  let meter: WebAssembly.Global | undefined
  let fuelUsed = 0

  /** Ends the call whatever the module does about it: it may catch what a host function throws. */
  const end = (error: Rejected | HostFault): Error => {
    ending ??= error
    return error
  }
  /** Growing takes the old buffer away, which then has no length. */
  const refresh = (): Uint8Array => {
    if (memory === undefined) throw end(new HostFault('BAD_POINTER')) // a start function: nothing is there yet
    if (view.length === 0) view = new Uint8Array(memory.buffer)
    return view
  }
  const pay = (bytes: number): void => {
    if (meter === undefined) return
    meter.value -= hostCallFuel + Math.floor(bytes / bytesPerFuel)
    if (meter.value < 0) throw end(new HostFault('OUT_OF_FUEL'))
  }
  /** The bytes at a pointer of the module's; both numbers are unsigned, and their sum does not wrap here. */
  const bytesAt = (pointer: number, length: number, max: number): Uint8Array => {
    const start = pointer >>> 0
    const size = length >>> 0
    const bytes = refresh()
    if (start + size > bytes.length) throw end(new HostFault('BAD_POINTER'))
    pay(Math.min(size, max))
    return bytes.subarray(start, start + Math.min(size, max))
  }
  const textAt = (pointer: number, length: number, max: number): string => decoder.decode(bytesAt(pointer, length, max))
  const write = (bytes: Uint8Array, pointer: number): number => {
    bytesAt(pointer, bytes.length, bytes.length).set(bytes)
    return bytes.length
  }
  const current = (): CallInput => {
    if (input === undefined) throw end(new HostFault('BAD_POINTER'))
    return input
  }

  const host: Record<HostFunction, (...args: number[]) => number> = {
    host_log(level, pointer, length) {
      const text = textAt(pointer!, length!, maxLogBytes)
      if (logs++ < maxLogsPerCall) log({ level: level! >>> 0, text: cleanText(text) })
      return 0
    },
    host_reject(code, pointer, length) {
      reason = cleanText(textAt(pointer!, length!, maxReasonBytes)) || `code ${code! | 0}`
      throw end(new Rejected())
    },
    host_get_header(namePointer, nameLength, out) {
      const name = nameAt(namePointer!, nameLength!)
      const value = Object.hasOwn(current().headers, name) ? current().headers[name] : undefined
      if (value === undefined) return absent
      const bytes = encoder.encode(value)
      return bytes.length > maxHeaderBytes ? tooLong : write(bytes, out!)
    },
    host_get_claim(namePointer, nameLength, out, capacity) {
      const value = current().claim(nameAt(namePointer!, nameLength!))
      if (value === undefined) return absent
      const bytes = encoder.encode(value)
      return bytes.length > capacity! >>> 0 ? bytes.length : write(bytes, out!)
    },
    host_get_payload(out, capacity) {
      const { payload } = current()
      if (payload === undefined) return absent
      return payload.length > capacity! >>> 0 ? payload.length : write(payload, out!)
    },
    host_add_header(namePointer, nameLength, valuePointer, valueLength) {
      const name = nameAt(namePointer!, nameLength!)
      const isShort = valueLength! >>> 0 <= maxAddedBytes
      const value = textAt(valuePointer!, valueLength!, maxAddedBytes)
      if (!isShort || !addedName.test(name) || !addedValue.test(value)) return absent
      added ??= Object.create(null) as Record<string, string>
      if (added[name] === undefined && addedCount++ >= maxAdded) return absent
      added[name] = value
      return 0
    },
  }
  /** A name longer than any there is names nothing. */
  const nameAt = (pointer: number, length: number): string => {
    const name = textAt(pointer, length, maxNameBytes)
    return length >>> 0 > maxNameBytes ? '' : name.toLowerCase()
  }

  const instance = new WebAssembly.Instance(module, Object.fromEntries(importModules.map((name) => [name, host])))
  const { exports } = instance
  memory = exports[memoryExport] as WebAssembly.Memory // that it is one was checked with the module
  const check = exports[checkExport] as (pointer: number, length: number) => number
  meter = fuelExport === undefined ? undefined : (exports[fuelExport] as WebAssembly.Global)
  // A reactor is made here, as WASI says: constructors of C++, the heap of TinyGo. Paid from what the start left.
  const initialize = exports[initializeExport]
  if (typeof initialize === 'function' && initialize.length === 0) {
    initialize()
    if (ending !== undefined) throw ending
  }

  function ended(error: unknown): Outcome {
    if (error instanceof Rejected) return { kind: 'deny', isBroken: true, ...(reason !== undefined && { reason }) }
    return { kind: 'failure', failure: failureOf(error), isBroken: true }
  }

  function failureOf(error: unknown): Failure {
    if (error instanceof HostFault) return error.failure
    if (meter !== undefined && meter.value < 0) return 'OUT_OF_FUEL'
    return error instanceof RangeError ? 'STACK_OVERFLOW' : 'TRAP'
  }

  return {
    get fuelUsed() {
      return fuelUsed
    },
    call(given) {
      const { frame } = given
      const size = frame.length
      const before = refresh()
      if (size > before.length) return { kind: 'failure', failure: 'FRAME_TOO_LARGE', isBroken: false }
      if (saved.length < size) saved = new Uint8Array(size * 2)
      saved.set(before.subarray(0, size))
      before.set(frame)
      input = given
      reason = undefined
      ending = undefined
      added = undefined
      addedCount = 0
      logs = 0
      if (meter !== undefined) meter.value = fuel
      try {
        const answer = check(0, size)
        if (ending !== undefined) return ended(ending)
        if (answer !== 0) return deny
        return added === undefined ? allow : { kind: 'allow', headers: added }
      } catch (error) {
        return ended(ending ?? error)
      } finally {
        if (meter !== undefined) fuelUsed = fuel - Math.max(0, meter.value)
        input = undefined
        refresh().set(size === saved.length ? saved : saved.subarray(0, size))
      }
    },
  }
}

/** One line in which nothing can steer a terminal or a log. */
export function cleanText(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]+/gu, ' ')
    .trim()
    .slice(0, maxLogBytes)
}
