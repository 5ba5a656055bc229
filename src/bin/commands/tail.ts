// `arqonbus tail`: the messages of a channel as they come, also over lost connections; from an earlier one if asked.
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Client, Message, Position, Subscription } from '../../client/client.ts'
import { ClientError } from '../../client/client.ts'
import { isJsonObject } from '../../base/json.ts'
import { overflowPolicies, type OverflowPolicy } from '../../envelope/envelope.ts'
import { addToolOptions, openToolClient, type ToolOptions } from '../connect-tool.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { messageLine } from '../message-line.ts'
import { type Terminal, toPrintableJson, toPrintableWord } from '../terminal.ts'

interface Options extends ToolOptions {
  readonly room: string
  readonly channel: string
  readonly from?: number
  readonly limit?: number
  readonly timeout?: number
  readonly json?: boolean
  readonly overflow?: OverflowPolicy
}

export function tailCommand(terminal: Terminal): Command {
  const command = new Command('tail')
    .description('Print the messages of a channel as they come')
    .requiredOption('--room <room>', 'room name')
    .option('--channel <channel>', 'channel name; * is every channel of the room', '*')
    .option(
      '--from <sequence>',
      'first print the stored messages from this sequence on, or from the `beginning`',
      parseFrom,
    )
    .option('--limit <n>', 'end after n messages', parseCount)
    .option('--timeout <seconds>', 'end after this long: with code 1 when --limit was not reached', parseCount)
    .addOption(
      new Option('--overflow <policy>', 'when messages come faster than they are printed').choices(overflowPolicies),
    )
    .option('--json', 'print each message as one JSON object')
  addToolOptions(command)
  command.addHelpText(
    'after',
    `
Examples:
  arqonbus tail --room lab
  arqonbus tail --room lab --channel general --from beginning --json
  arqonbus tail --room lab --channel general --limit 1 --timeout 5

A line is: time  room:channel  epoch:sequence  sender  payload`,
  )
  return command.action((options: Options) => tail(options, terminal))
}

async function tail(options: Options, terminal: Terminal): Promise<void> {
  const { room, channel, limit } = options
  if (options.from !== undefined && channel === '*') {
    throw new ExitError(exitCodes.usage, '--from needs one --channel: each channel has sequences of its own')
  }
  const client = await openToolClient(options, terminal, {
    onState: (state) => {
      if (state === 'reconnecting') terminal.note('the connection was lost; coming back')
    },
  })
  terminal.stop.addEventListener('abort', () => void client.close())
  const { promise: isEnough, resolve: enough } = Promise.withResolvers<void>()
  let seen = 0
  function print(message: Message): void {
    if (limit !== undefined && seen >= limit) return
    seen++
    terminal.out(options.json === true ? toPrintableJson(message) : messageLine(message))
    if (seen === limit) enough()
  }
  try {
    const recover = options.from === undefined ? undefined : await positionBefore(client, options, options.from)
    const joined = await client.join(room, channel, {
      ...(recover !== undefined && { recover }),
      ...(options.overflow !== undefined && { overflow: options.overflow }),
      onMessage: print,
      onGap: (gap) =>
        terminal.note(
          `${gap.missed ?? 'some'} messages of ${toPrintableWord(gap.channel)} are missing here: ${gap.reason}`,
        ),
      onRejoin: ({ recovered, reason }) => {
        if (recovered === false) terminal.note(`messages may be missing here: ${reason ?? 'unknown reason'}`)
      },
    })
    checkRecovered(joined, options)
    terminal.note(`joined ${toPrintableWord(room)}:${toPrintableWord(channel)}; ^C ends`)
    await Promise.race([isEnough, timeIsUp(options), client.closed.then(failUnlessOurs)])
    if (limit !== undefined && seen < limit && !terminal.stop.aborted) {
      throw new ExitError(exitCodes.failure, `${seen} of ${limit} messages within ${options.timeout} s`)
    }
  } finally {
    await client.close()
  }
}

/** Never resolves without --timeout; the timer does not keep a finished command from ending. */
function timeIsUp({ timeout }: Options): Promise<void> {
  return new Promise((done) => {
    if (timeout !== undefined) setTimeout(done, timeout * 1_000).unref()
  })
}

function failUnlessOurs(reason: ClientError | undefined): void {
  if (reason !== undefined) throw reason
}

/** The position whose recovery begins with message `from`; undefined where the channel has no messages yet. */
async function positionBefore(client: Client, { room, channel }: Options, from: number): Promise<Position | undefined> {
  try {
    const { data } = await client.command('channel_info', { room, channel })
    const facts = isJsonObject(data['statistics']) ? data['statistics'] : {}
    const { epoch, first_sequence: first } = facts
    if (typeof epoch === 'number' && typeof first === 'number') return { epoch, sequence: Math.max(from, first) - 1 }
    throw new ExitError(
      exitCodes.failure,
      'this server keeps no history',
      'Start it with ARQONBUS_ENABLE_PERSISTENCE=true.',
    )
  } catch (error) {
    if (error instanceof ClientError && error.code === 'CHANNEL_NOT_FOUND') return undefined
    throw error
  }
}

function checkRecovered({ recovered, reason }: Subscription, { from }: Options): void {
  if (recovered !== false) return
  const hint =
    reason === 'too_far_behind'
      ? 'Ask for less with a later --from, or read older messages with `arqonbus history`.'
      : 'Leave out --from for live messages only.'
  throw new ExitError(exitCodes.failure, `the messages from ${from} on cannot be replayed: ${reason}`, hint)
}

function parseFrom(value: string): number {
  return value === 'beginning' ? 1 : parseCount(value)
}

function parseCount(value: string): number {
  const count = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(count) || count < 1) {
    throw new InvalidArgumentError('It has to be a whole number from 1 on.')
  }
  return count
}
