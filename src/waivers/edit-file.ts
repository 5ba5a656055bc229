// Writes into a file of waivers what a command adds: comments and order of the rest stay. What comes out is read again
// by the strict parser, so that no command leaves a file that refuses a start.
import { renameSync, statSync, writeFileSync } from 'node:fs'
import { Document, isMap, isSeq, parseDocument } from 'yaml'
import { BusError } from '../base/errors.ts'
import type { Subject } from './judge-waivers.ts'
import { dayMs, lifeOf } from './judge-waivers.ts'
import { type Approval, type Waiver, waiverSchema } from './waiver.ts'
import { parseWaivers } from './waiver-file.ts'

const format = { lineWidth: 0, flowCollectionPadding: true } as const
const open = 'TODO'

/** What a person has to say of a waiver; what is missing is written as TODO, which the parser refuses. */
export interface Words {
  readonly reason?: string
  readonly risk?: string
  readonly ticket?: string
  readonly owner?: string
}

export interface DraftOptions extends Words {
  readonly id: string
  readonly subject: Pick<Subject, 'id' | 'severity'>
  readonly scope: Waiver['scope']
  readonly bind: string
  readonly compensating: readonly string[]
  /** Absent: as long as the severity allows. */
  readonly days?: number
  /** ms since the Unix epoch. */
  readonly now: number
}

/** To the second: an approval is given after it, at the earliest. */
export const secondOf = (ms: number): string =>
  new Date(Math.floor(ms / 1_000) * 1_000).toISOString().replace('.000Z', 'Z')

export function draftWaiver({ subject, now, days, ...given }: DraftOptions): Waiver {
  return {
    id: given.id,
    check: subject.id,
    scope: given.scope,
    reason: given.reason ?? `${open}: why it has to be`,
    risk: given.risk ?? `${open}: what may happen meanwhile, and how bad it is`,
    compensating: given.compensating,
    ticket: given.ticket ?? `${open}: address of the ticket`,
    owner: given.owner ?? open,
    requested: secondOf(now),
    expires: secondOf(Math.floor(now / 1_000) * 1_000 + (days ?? lifeOf(subject.severity)) * dayMs),
    renewal: { number: 0, of: null },
    bind: given.bind,
    approvals: [],
  }
}

/** The same exception once more: a new reason, a new life, and no approval yet. */
export function renewWaiver(
  before: Waiver,
  {
    id,
    reason,
    days,
    now,
  }: { readonly id: string; readonly reason: string; readonly days: number; readonly now: number },
): Waiver {
  return {
    ...before,
    id,
    reason,
    requested: secondOf(now),
    expires: secondOf(Math.floor(now / 1_000) * 1_000 + days * dayMs),
    renewal: { number: before.renewal.number + 1, of: before.id },
    approvals: [],
  }
}

/** `EX-2026-015`, after the highest of that year. */
export function nextId(waivers: readonly Waiver[], now: number): string {
  const prefix = `EX-${new Date(now).getUTCFullYear()}-`
  const numbers = waivers.map(({ id }) => (id.startsWith(prefix) ? Number(id.slice(prefix.length)) : 0))
  return `${prefix}${String(Math.max(0, ...numbers.filter(Number.isSafeInteger)) + 1).padStart(3, '0')}`
}

/** A whole file with that waiver in it. */
export const newFile = (waiver: Waiver): string =>
  new Document({ schema: waiverSchema, waivers: [waiver] }).toString(format)

/** The file's text with one more waiver at its end. */
export function addWaiver(text: string, waiver: Waiver): string {
  const document = parseDocument(text)
  const list = document.get('waivers')
  if (!isSeq(list)) throw unwritable('it has no list of waivers')
  list.flow = false
  list.add(document.createNode(waiver, { aliasDuplicateObjects: false }))
  return checked(document.toString(format))
}

/** The file's text with one more approval of that waiver. */
export function addApproval(text: string, id: string, approval: Approval): string {
  const document = parseDocument(text)
  const list = document.get('waivers')
  const entry = isSeq(list) ? list.items.find((item) => isMap(item) && item.get('id') === id) : undefined
  const approvals = isMap(entry) ? entry.get('approvals') : undefined
  if (!isSeq(approvals)) throw unwritable(`${id} has no list of approvals`)
  approvals.flow = false
  approvals.add(document.createNode(approval))
  return checked(document.toString(format))
}

function checked(text: string): string {
  parseWaivers(Buffer.from(text, 'utf8'), 'what would be written')
  return text
}

const unwritable = (why: string): BusError => new BusError('CONFIG_INVALID', why, { reason: 'WAIVER_INVALID' })

/** At once or not at all; who may read the file stays as it is. */
export function replaceFile(path: string, text: string): void {
  const mode = (statSync(path, { throwIfNoEntry: false })?.mode ?? 0o644) & 0o777
  const next = `${path}.${process.pid}.new`
  writeFileSync(next, text, { mode, flag: 'wx' })
  renameSync(next, path)
}
