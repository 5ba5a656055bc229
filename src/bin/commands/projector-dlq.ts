// `arqonbus projector dlq`: dead letters seen, mended, tried again, thrown away, taken along.
import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { slowLimits } from '../../postgres/connection.ts'
import {
  createDeadLetters,
  type DeadLetterEntry,
  type DeadLetterFilter,
  type DeadLetters,
  eachDeadLetter,
  noSuchLetter,
  type Replay,
} from '../../projector/dead-letters.ts'
import { parseSourceTime } from '../../projector/source-time.ts'
import { createSql } from '../../projector/sql.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { postgresAddressOf } from '../postgres-address.ts'
import { type Terminal, toPrintableJson, toPrintableWord } from '../terminal.ts'

interface FilterOptions extends DeadLetterFilter {
  readonly all?: boolean
}

export function deadLetterCommand(terminal: Terminal): Command {
  const list = filtered(new Command('list').description('Print dead letters, newest first'))
    .option('--limit <n>', 'how many, 1 to 10000', parseLimit, 100)
    .option('--json', 'print each as one JSON object')
    .action((options: FilterOptions & { limit: number; json?: boolean }) => printList(options, terminal))
  const show = new Command('show')
    .description('Print one dead letter whole, its bytes in base64')
    .argument('<id>')
    .action((id: string) => printOne(id, terminal))
  const replay = filtered(
    new Command('replay').description('Judge dead letters again and project them; what is still refused stays'),
  )
    .argument('[id]', 'one; or a filter, or --all')
    .option('--event <file>', 'in place of what the letter holds: a file with the mended event, - for standard input')
    .option('--all', 'all there are')
    .action((id: string | undefined, options: FilterOptions & { event?: string }) => replayThem(id, options, terminal))
  const discard = filtered(new Command('discard').description('Throw dead letters away; export them first'))
    .argument('[id]', 'one; or a filter, or --all')
    .option('--all', 'all there are')
    .action((id: string | undefined, options: FilterOptions) => discardThem(id, options, terminal))
  const exporting = filtered(
    new Command('export').description('Print dead letters as lines of JSON, bytes in base64, newest first'),
  ).action((options: FilterOptions) => exportThem(options, terminal))
  return [list, show, replay, discard, exporting]
    .reduce((command, one) => command.addCommand(one), new Command('dlq').description('Look after dead letters'))
    .addHelpText(
      'after',
      `
Examples:
  arqonbus projector dlq list --code TIME_IN_FUTURE
  arqonbus projector dlq show dlq_… | jq -r .event > event.json
  arqonbus projector dlq replay dlq_… --event event.json
  arqonbus projector dlq replay --tenant acme --code BAD_DATA
  arqonbus projector dlq export > letters.jsonl`,
    )
}

function filtered(command: Command): Command {
  return command
    .option('--tenant <id>', 'of one tenant')
    .option('--code <code>', 'refused for one reason, such as BAD_TIME')
    .option('--since <time>', 'queued then or later: RFC 3339 with an offset', parseTime)
    .option('--until <time>', 'queued then or earlier', parseTime)
}

async function withLetters<T>(terminal: Terminal, work: (letters: DeadLetters) => Promise<T>): Promise<T> {
  const sql = createSql(postgresAddressOf(terminal), slowLimits, 1)
  try {
    return await work(createDeadLetters({ sql, clock: systemClock }))
  } finally {
    await sql.close()
  }
}

const toJson = ({ raw, ...rest }: DeadLetterEntry): string =>
  toPrintableJson({ ...rest, ...(raw !== undefined && { raw: Buffer.from(raw).toString('base64') }) })

async function printList(
  { limit, json, ...filter }: FilterOptions & { limit: number; json?: boolean },
  terminal: Terminal,
): Promise<void> {
  await withLetters(terminal, async (letters) => {
    let count = 0
    for await (const letter of eachDeadLetter(letters, filter)) {
      if (count++ === limit) return
      if (json === true) terminal.out(toJson(letter))
      else {
        const { id, queuedAt, tenant = '', code = '-', attempts, reason } = letter
        const who = toPrintableWord(tenant === '' ? '-' : tenant)
        terminal.out(`${toPrintableWord(id)}  ${queuedAt}  ${who}  ${code}  x${attempts}  ${toPrintableJson(reason)}`)
      }
    }
    if (count === 0) terminal.note('there are no dead letters')
  })
}

async function printOne(id: string, terminal: Terminal): Promise<void> {
  await withLetters(terminal, async (letters) => {
    const letter = await letters.find(id)
    if (letter === undefined) throw noSuchLetter(id)
    terminal.out(toJson(letter))
  })
}

async function replayThem(
  id: string | undefined,
  { event, all, ...filter }: FilterOptions & { event?: string },
  terminal: Terminal,
): Promise<void> {
  requireChoice(id, filter, all)
  if (event !== undefined && id === undefined) {
    throw new ExitError(exitCodes.usage, '--event mends one letter: name its id')
  }
  const edited = event === undefined ? undefined : await readBytes(event, terminal)
  await withLetters(terminal, async (letters) => {
    const counts = { projected: 0, duplicate: 0, stale_rejected: 0, refused: 0, not_found: 0 }
    const tell = (which: string, replay: Replay): void => {
      counts[replay.status]++
      if (replay.status !== 'refused') return
      terminal.note(`${toPrintableWord(which)} is still refused: ${replay.refusal.code}: ${replay.refusal.message}`)
    }
    if (id !== undefined) {
      const replay = await letters.replay(id, edited === undefined ? {} : { edited })
      if (replay.status === 'not_found') throw noSuchLetter(id)
      tell(id, replay)
    } else {
      for await (const letter of eachDeadLetter(letters, filter)) tell(letter.id, await letters.replay(letter.id))
    }
    const { projected, duplicate, stale_rejected: stale, refused } = counts
    terminal.out(
      `${projected} projected, ${duplicate} known already, ${stale} older than what is there, ${refused} refused`,
    )
    if (refused > 0) terminal.exitWith(exitCodes.failure)
  })
}

async function discardThem(
  id: string | undefined,
  { all, ...filter }: FilterOptions,
  terminal: Terminal,
): Promise<void> {
  requireChoice(id, filter, all)
  await withLetters(terminal, async (letters) => {
    let count = 0
    if (id !== undefined) {
      count = await letters.discard([id])
      if (count === 0) throw noSuchLetter(id)
    } else {
      for await (const letter of eachDeadLetter(letters, filter)) count += await letters.discard([letter.id])
    }
    terminal.out(`${count} discarded`)
  })
}

async function exportThem(filter: FilterOptions, terminal: Terminal): Promise<void> {
  await withLetters(terminal, async (letters) => {
    let count = 0
    for await (const letter of eachDeadLetter(letters, filter)) {
      terminal.out(toJson(letter))
      count++
    }
    terminal.note(`${count} exported`)
  })
}

/** Nothing named means nothing, not everything. */
function requireChoice(id: string | undefined, filter: DeadLetterFilter, all: boolean | undefined): void {
  const isFiltered = Object.values(filter).some((value) => value !== undefined)
  if (Number(id !== undefined) + Number(isFiltered) + Number(all === true) === 1) return
  throw new ExitError(exitCodes.usage, 'name one id, or a filter, or --all')
}

async function readBytes(file: string, { stdin }: Terminal): Promise<Uint8Array> {
  if (file !== '-') {
    return await readFile(file).catch((error: NodeJS.ErrnoException) => {
      throw new ExitError(exitCodes.usage, `${file} cannot be read (${error.code ?? 'unknown'})`)
    })
  }
  const parts: Buffer[] = []
  for await (const part of stdin) parts.push(Buffer.from(part))
  return Buffer.concat(parts)
}

function parseLimit(value: string): number {
  const limit = Number(value)
  if (/^\d{1,5}$/.test(value) && limit >= 1 && limit <= 10_000) return limit
  throw new InvalidArgumentError('It has to be a whole number from 1 to 10000.')
}

function parseTime(value: string): string {
  const time = parseSourceTime(value)
  if (time === undefined) throw new InvalidArgumentError('It is no RFC 3339 time with an offset.')
  return time.text
}
