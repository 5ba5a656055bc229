// `arqonbus projector backfill`: rebuild the projection from the event log, or say what that would change.
import { Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { openConnection, slowLimits } from '../../postgres/connection.ts'
import { backfill, type BackfillProgress } from '../../projector/backfill.ts'
import { requireProjectorSchema } from '../../projector/schema.ts'
import { parseSourceTime } from '../../projector/source-time.ts'
import { postgresAddressOf } from '../postgres-address.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly from?: string
  readonly to?: string
  readonly tenant?: string
  readonly agent?: string
  readonly dryRun?: boolean
  readonly rate?: number
  readonly json?: boolean
}

export function backfillCommand(terminal: Terminal): Command {
  return new Command('backfill')
    .description('Rebuild the projection from the event log; a filter rebuilds whole the episodes that it touches')
    .option('--from <time>', 'source time of an event, inclusive: RFC 3339 with an offset', parseTime)
    .option('--to <time>', 'the same, the end', parseTime)
    .option('--tenant <id>', 'one tenant only')
    .option('--agent <id>', 'one agent only')
    .option('--dry-run', 'say exactly what would change, and write nothing')
    .option('--rate <n>', 'at most this many events a second', parseRate)
    .option('--json', 'print the result as JSON')
    .action((options: Options) => run(options, terminal))
    .addHelpText(
      'after',
      `
Stopped with ^C or cut off, it goes on from there when it is run again with the same filter.
Live events keep flowing; at the end they wait for the one transaction that replaces what differs.`,
    )
}

async function run({ from, to, tenant, agent, dryRun, rate, json }: Options, terminal: Terminal): Promise<void> {
  const address = postgresAddressOf(terminal)
  const connection = await openConnection({ address, limits: slowLimits })
  try {
    await requireProjectorSchema(connection)
  } finally {
    await connection.close()
  }
  const result = await backfill({
    address,
    clock: systemClock,
    filter: { from, to, tenant, agent },
    dryRun: dryRun === true,
    maxEventsPerSecond: rate,
    signal: terminal.stop,
    onProgress: everySecond((progress) => terminal.note(line(progress))),
  })
  if (json === true) {
    terminal.out(toPrintableJson(result))
    return
  }
  const { events, episodes, inserted, updated, removed } = result
  const verb = result.dryRun ? 'would be' : 'were'
  terminal.out(
    `${events} events of ${episodes} episodes; ${inserted} rows ${verb} added, ${updated} ${verb} replaced, ${removed} ${verb} removed`,
  )
}

function line({ events, total, eventsPerSecond, secondsLeft }: BackfillProgress): string {
  const of = total >= events ? ` of about ${total}` : ''
  const left = secondsLeft === undefined || total < events ? '' : `, about ${Math.ceil(secondsLeft)} s left`
  return `${events}${of} events, ${Math.round(eventsPerSecond)} a second${left}`
}

function everySecond<T>(tell: (value: T) => void): (value: T) => void {
  let toldAt = -Infinity
  return (value) => {
    if (systemClock.monotonic() - toldAt < 1_000) return
    toldAt = systemClock.monotonic()
    tell(value)
  }
}

function parseTime(value: string): string {
  const time = parseSourceTime(value)
  if (time === undefined) throw new InvalidArgumentError('It is no RFC 3339 time with an offset.')
  return time.text
}

function parseRate(value: string): number {
  const rate = Number(value)
  if (/^\d{1,9}$/.test(value) && rate >= 1) return rate
  throw new InvalidArgumentError('It has to be a whole number from 1.')
}
