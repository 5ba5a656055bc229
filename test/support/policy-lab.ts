// Policies from text, and the frames they are put to.
import { assemble, type Features } from '../../scripts/assemble.ts'
import { createInstance, type CallInput, type LogLine, type PolicyInstance } from '../../src/policy/instance.ts'
import { prepareModule } from '../../src/policy/prepare-module.ts'

export const limits = { fuel: 2_000_000, maxMemoryPages: 64 }

const types: Readonly<Record<string, string>> = {
  host_log: 'i32 i32 i32',
  host_reject: 'i32 i32 i32',
  host_get_header: 'i32 i32 i32',
  host_get_claim: 'i32 i32 i32 i32',
  host_get_payload: 'i32 i32',
  host_add_header: 'i32 i32 i32 i32',
}

/** A module with all of the host's functions, a memory of `memory`, and `body` as its policy_check. */
export function policyText(body: string, { memory = '1', more = '' } = {}): string {
  const imports = Object.entries(types).map(
    ([name, params]) => `(import "env" "${name}" (func $${name} (param ${params}) (result i32)))`,
  )
  return `(module ${imports.join('\n')} (memory (export "memory") ${memory}) ${more}
    (func $check (export "policy_check") (param $at i32) (param $len i32) (result i32) ${body}))`
}

export const build = (body: string, options?: { memory?: string; more?: string }, features?: Features) =>
  assemble('test.wat', policyText(body, options), features)

export async function openInstance(
  body: string,
  options?: { memory?: string; more?: string },
  features?: Features,
): Promise<PolicyInstance & { readonly lines: LogLine[] }> {
  const lines: LogLine[] = []
  const { wasm, fuelExport } = prepareModule('test', await build(body, options, features), limits)
  const instance = createInstance({
    module: new WebAssembly.Module(wasm),
    fuel: limits.fuel,
    ...(fuelExport !== undefined && { fuelExport }),
    log: (line) => lines.push(line),
  })
  return {
    lines,
    call: (input) => instance.call(input),
    get fuelUsed() {
      return instance.fuelUsed
    },
  }
}

export function inputOf(frame: Uint8Array | string, rest: Partial<CallInput> = {}): CallInput {
  const bytes = typeof frame === 'string' ? new TextEncoder().encode(frame) : frame
  return { frame: bytes, payload: bytes.subarray(0, 0), headers: {}, claim: () => undefined, ...rest }
}

/** Bounds of a chain as the gateway's defaults are, with files that are looked at only when asked. */
export const chainBounds = {
  ...limits,
  maxInstances: 128,
  deadlineMs: 25,
  threads: 2,
  maxWaiting: 200,
  reloadMs: 0,
}

/** `body` with one instruction that has no price, so that it runs in a thread under a deadline. */
export const buildUnmetered = (body: string, options?: { memory?: string; more?: string }): Promise<Buffer> =>
  build(`(drop (i8x16.splat (i32.const 1))) ${body}`, options, { simd: true })
