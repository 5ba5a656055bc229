// `arqonbus audit`: is the audit log as it was written, and what are its newest entries.
import { Command, InvalidArgumentError } from 'commander'
import type { AuditRow, ChainHead } from '../../audit/chain.ts'
import { listAudit, verifyAudit } from '../../audit/verify.ts'
import { toIsoTime } from '../../base/clock.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { postgresAddressOf } from '../postgres-address.ts'
import { type Terminal, toPrintableJson, toPrintableWord } from '../terminal.ts'

export function auditCommand(terminal: Terminal): Command {
  const verify = new Command('verify')
    .description('Walk the chain of hashes; exits with 1 and names the first row that is not as it was written')
    .option('--expect <sequence:hash>', 'a head noted outside of the database, which the chain has to hold', parseHead)
    .option('--json', 'print as JSON')
    .action((options: VerifyOptions) => verifyChain(options, terminal))
  const list = new Command('list')
    .description('Print the newest entries, oldest of them first')
    .option('--limit <n>', 'how many, 1 to 10000', parseLimit, 100)
    .option('--json', 'print each entry as one JSON object')
    .action((options: ListOptions) => printEntries(options, terminal))
  return new Command('audit')
    .description('Check or read the audit log in the configured Postgres')
    .addCommand(verify)
    .addCommand(list)
    .addHelpText(
      'after',
      `
Examples:
  arqonbus audit verify
  arqonbus audit list --limit 20 --json | jq .action`,
    )
}

interface VerifyOptions {
  readonly expect?: ChainHead
  readonly json?: boolean
}

async function verifyChain({ expect, json }: VerifyOptions, terminal: Terminal): Promise<void> {
  const { intact, head, broken } = await verifyAudit(postgresAddressOf(terminal), expect)
  if (json === true)
    terminal.out(toPrintableJson({ ok: broken === undefined, intact, head, ...(broken && { broken }) }))
  if (broken !== undefined) {
    const hint = `Rows before it that are as they were written: ${intact}.`
    throw new ExitError(exitCodes.failure, `row ${broken.sequence} of the audit log: ${broken.reason}`, hint)
  }
  if (json !== true) terminal.out(`${intact} rows are as they were written; head ${head.sequence}:${head.hash}`)
}

interface ListOptions {
  readonly limit: number
  readonly json?: boolean
}

async function printEntries({ limit, json }: ListOptions, terminal: Terminal): Promise<void> {
  const rows = await listAudit(postgresAddressOf(terminal), limit)
  for (const row of rows) terminal.out(json === true ? toPrintableJson(row) : line(row))
  if (rows.length === 0) terminal.note('the audit log is empty')
}

function line({ sequence, atMs, tenant, subject, clientId, action, outcome, details }: AuditRow): string {
  const who = [tenant, subject, clientId === '' ? '-' : clientId].map(toPrintableWord).join('  ')
  return `${sequence}  ${toIsoTime(atMs)}  ${who}  ${toPrintableWord(action)}  ${toPrintableWord(outcome)}  ${shownDetails(details)}`
}

/** As JSON where it still is; somebody may have changed it. */
function shownDetails(details: string): string {
  try {
    return toPrintableJson(JSON.parse(details))
  } catch {
    return toPrintableJson(details)
  }
}

function parseLimit(value: string): number {
  const limit = Number(value)
  if (/^\d+$/.test(value) && limit >= 1 && limit <= 10_000) return limit
  throw new InvalidArgumentError('It has to be a whole number from 1 to 10000.')
}

function parseHead(value: string): ChainHead {
  const [, sequence, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(value) ?? []
  if (sequence === undefined || hash === undefined)
    throw new InvalidArgumentError('It is a sequence, a colon and 64 hex.')
  return { sequence: Number(sequence), hash }
}
