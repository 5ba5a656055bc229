// `arqonbus history`: stored messages of a room or channel, oldest first.
import { Command, InvalidArgumentError } from 'commander'
import { addToolOptions, openToolClient, type ToolOptions } from '../connect-tool.ts'
import { envelopeLine } from '../message-line.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options extends ToolOptions {
  readonly room: string
  readonly channel?: string
  readonly limit: number
  readonly since?: string
  readonly until?: string
  readonly json?: boolean
}

export function historyCommand(terminal: Terminal): Command {
  const command = new Command('history')
    .description('Print the newest stored messages of a room or channel, oldest of them first')
    .requiredOption('--room <room>', 'room name')
    .option('--channel <channel>', 'channel name; all channels of the room when left out')
    .option('--limit <n>', 'how many, 1 to 1000', parseLimit, 100)
    .option('--since <time>', 'not before this ISO 8601 time')
    .option('--until <time>', 'not after this ISO 8601 time')
    .option('--json', 'print each entry as one JSON object')
  addToolOptions(command)
  command.addHelpText(
    'after',
    `
Examples:
  arqonbus history --room lab --channel general --limit 10
  arqonbus history --room lab --since 2026-11-23T00:00:00Z --json | jq .message.payload`,
  )
  return command.action((options: Options) => history(options, terminal))
}

async function history(options: Options, terminal: Terminal): Promise<void> {
  const { room, channel, limit, since, until } = options
  const client = await openToolClient(options, terminal)
  terminal.stop.addEventListener('abort', () => void client.close())
  try {
    const entries = await client.history({
      room,
      limit,
      ...(channel !== undefined && { channel }),
      ...(since !== undefined && { since }),
      ...(until !== undefined && { until }),
    })
    for (const entry of entries.toReversed()) {
      terminal.out(options.json === true ? toPrintableJson(entry) : envelopeLine(entry.message, entry.position))
    }
    if (entries.length === 0) terminal.note('nothing is stored there')
  } finally {
    await client.close()
  }
}

function parseLimit(value: string): number {
  const limit = Number(value)
  if (/^\d+$/.test(value) && limit >= 1 && limit <= 1_000) return limit
  throw new InvalidArgumentError('It has to be a whole number from 1 to 1000.')
}
