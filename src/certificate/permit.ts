// The way out of the circle that a certificate needs a candidate that runs, and a candidate a certificate: the preflight
// starts it with a permit over an inherited descriptor. It lifts the demand for a certificate, only where every listener
// is on loopback, and for ten minutes. It is no secret and proves no identity; what makes it harmless is that bound.
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomHex } from '../base/ids.ts'
import { isJsonObject } from '../base/json.ts'

export const permitSchema = 'arqonbus/permit/1'
export const permitLifeMs = 10 * 60_000
/** Names the descriptor, a number from 3. */
export const permitVariable = 'ARQONBUS_PREFLIGHT_PERMIT_FD'

export interface Permit {
  readonly schema: typeof permitSchema
  /** 32 hex digits. */
  readonly nonce: string
  /** ms since the Unix epoch. */
  readonly issuedAt: number
}

const maxBytes = 1_024
/** As written: what a name resolves to is not asked. */
const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i

/**
 * Reads the permit from the descriptor, once, and closes it. Only from a file that no folder holds any more: one that
 * a unit or a shell names would be a permit for ever. Never throws.
 */
export function takePermit(
  fd: number,
  { now, hosts }: { readonly now: number; readonly hosts: readonly string[] },
): { readonly permit: Permit; readonly endsAt: number } | { readonly refused: string } {
  const text = readOnce(fd)
  if (typeof text !== 'string') return text
  const permit = parsed(text)
  if (permit === undefined) return { refused: `no ${permitSchema}` }
  const endsAt = permit.issuedAt + permitLifeMs
  if (now > endsAt || now < permit.issuedAt - 1_000) return { refused: 'it is not of the last ten minutes' }
  const outside = hosts.filter((host) => !loopback.test(host))
  if (outside.length > 0) return { refused: `it is for loopback only, and a listener is on ${outside.join(', ')}` }
  return { permit, endsAt }
}

function readOnce(fd: number): string | { readonly refused: string } {
  try {
    const stats = fstatSync(fd)
    if (!stats.isFile() || stats.nlink !== 0) return { refused: 'the descriptor is no file that was taken away' }
    const bytes = Buffer.alloc(maxBytes + 1)
    const text = bytes.subarray(0, readSync(fd, bytes, 0, maxBytes + 1, null)).toString('utf8')
    closeSync(fd)
    return text
  } catch (error) {
    return { refused: `the descriptor cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})` }
  }
}

function parsed(text: string): Permit | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (!isJsonObject(value) || value['schema'] !== permitSchema) return undefined
    const { nonce, issuedAt } = value
    if (typeof nonce !== 'string' || !/^[0-9a-f]{32}$/.test(nonce)) return undefined
    return typeof issuedAt === 'number' && Number.isSafeInteger(issuedAt) ? (value as unknown as Permit) : undefined
  } catch {
    return undefined
  }
}

/** A descriptor to hand to one child, and what closes it here. `now`: ms since the Unix epoch. */
export function openPermit(now: number): { readonly fd: number; close(): void } {
  const permit: Permit = { schema: permitSchema, nonce: randomHex(16), issuedAt: now }
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-permit-'))
  try {
    const path = join(folder, 'permit')
    writeFileSync(path, JSON.stringify(permit), { mode: 0o600, flag: 'wx' })
    const fd = openSync(path, 'r')
    return { fd, close: () => closeSync(fd) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
