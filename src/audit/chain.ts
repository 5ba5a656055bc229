// The chain of the audit log: what a row holds, and the hash that binds it to the one before it.
import { createHash } from 'node:crypto'

/** What happened, as whoever saw it tells it. Texts are short facts: no payloads, no tokens. */
export interface AuditEntry {
  readonly tenant: string
  readonly subject: string
  /** Absent for what came over HTTP. */
  readonly clientId?: string
  /** `command.delete_channel`, `http.POST /admin/shutdown`, `refused.TENANT_MISMATCH`. */
  readonly action: string
  /** `done`, or the code of the refusal. */
  readonly outcome: string
  readonly details?: Readonly<Record<string, string | number | boolean>>
}

/** A row as the table has it. */
export interface AuditRow {
  readonly sequence: number
  readonly entryId: string
  readonly atMs: number
  readonly tenant: string
  readonly subject: string
  readonly clientId: string
  readonly action: string
  readonly outcome: string
  /** JSON with its keys in order. */
  readonly details: string
  readonly previousHash: string
  readonly hash: string
}

export interface ChainHead {
  readonly sequence: number
  readonly hash: string
}

/** What the first row has before it. */
export const firstHash = '0'.repeat(64)

type Content = Omit<AuditRow, 'previousHash' | 'hash'>

/** SHA-256 over the hash before and the row as a JSON list, whose form is fixed by the order of its items. */
export function hashOf(previousHash: string, row: Content): string {
  const { sequence, entryId, atMs, tenant, subject, clientId, action, outcome, details } = row
  const content = JSON.stringify([sequence, entryId, atMs, tenant, subject, clientId, action, outcome, details])
  return createHash('sha256').update(`${previousHash}\n${content}`).digest('hex')
}

const maxText = 512

/** As Postgres can hold it: well-formed, without NUL, and no longer than it should be. */
function plain(text: string): string {
  return text.slice(0, maxText).toWellFormed().replaceAll('\0', '\ufffd')
}

/** An entry and the moment it was recorded, as the columns of its row. */
export function toContent(entry: AuditEntry, entryId: string, atMs: number): Omit<Content, 'sequence'> {
  const { details = {} } = entry
  const sorted = Object.keys(details)
    .sort()
    .map((key) => [key, typeof details[key] === 'string' ? plain(details[key]) : details[key]])
  return {
    entryId,
    atMs: Math.floor(atMs),
    tenant: plain(entry.tenant),
    subject: plain(entry.subject),
    clientId: plain(entry.clientId ?? ''),
    action: plain(entry.action),
    outcome: plain(entry.outcome),
    details: JSON.stringify(Object.fromEntries(sorted)),
  }
}

/** The next rows of a chain. */
export function link(head: ChainHead, contents: readonly Omit<Content, 'sequence'>[]): AuditRow[] {
  let { sequence, hash } = head
  return contents.map((content) => {
    const previousHash = hash
    const row = { ...content, sequence: ++sequence }
    hash = hashOf(previousHash, row)
    return { ...row, previousHash, hash }
  })
}
