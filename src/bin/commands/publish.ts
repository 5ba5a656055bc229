// `arqonbus publish`: one message from the command line, or one per line of standard input.
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { Command, Option } from 'commander'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { Client, PublishOptions, PublishResult } from '../../client/client.ts'
import { type AckRequest, ackRequests } from '../../envelope/envelope.ts'
import { addToolOptions, openToolClient, type ToolOptions } from '../connect-tool.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options extends ToolOptions {
  readonly room?: string
  readonly channel?: string
  readonly to?: string
  readonly ack?: AckRequest
  readonly id?: string
  readonly json?: boolean
}

export function publishCommand(terminal: Terminal): Command {
  const command = new Command('publish')
    .description('Publish a JSON object, or one object per line of standard input (`-`)')
    .argument('<payload>', 'a JSON object, or - for standard input')
    .option('--room <room>', 'room name')
    .option('--channel <channel>', 'channel name')
    .option('--to <client-id>', 'send privately to one client instead')
    .addOption(new Option('--ack <ack>', 'what to wait for').choices(ackRequests))
    .option('--id <id>', 'message id; the same id is stored once, however often it is sent')
    .option('--json', 'print results as JSON')
  addToolOptions(command)
  command.addHelpText(
    'after',
    `
Examples:
  arqonbus publish --room lab --channel general '{"text":"hello"}'
  tail -f events.ndjson | arqonbus publish --room lab --channel events -`,
  )
  return command.action((payload: string, options: Options) => publish(payload, options, terminal))
}

async function publish(payload: string, options: Options, terminal: Terminal): Promise<void> {
  const target = targetOf(options)
  const first = payload === '-' ? undefined : parseObject(payload, 'the payload')
  if (first === undefined && options.id !== undefined) {
    throw new ExitError(exitCodes.usage, '--id names one message; it cannot be used with -')
  }
  const client = await openToolClient(options, terminal)
  terminal.stop.addEventListener('abort', () => void client.close())
  try {
    if (first !== undefined) {
      await send(client, target, first, options, terminal)
      return
    }
    let number = 0
    for await (const line of createInterface({ input: Readable.from(terminal.stdin), signal: terminal.stop })) {
      number++
      if (line.trim() !== '') await send(client, target, parseObject(line, `line ${number}`), options, terminal)
    }
  } finally {
    await client.close()
  }
}

type Target = { readonly to: string } | { readonly room: string; readonly channel: string }

function targetOf({ room, channel, to }: Options): Target {
  if (to !== undefined && room === undefined && channel === undefined) return { to }
  if (to === undefined && room !== undefined && channel !== undefined) return { room, channel }
  throw new ExitError(exitCodes.usage, 'where to? Give --room and --channel, or --to alone')
}

async function send(
  client: Client,
  target: Target,
  payload: JsonObject,
  options: Options,
  terminal: Terminal,
): Promise<void> {
  if ('to' in target) {
    await client.sendTo(target.to, payload)
    terminal.out(options.json === true ? toPrintableJson({ sent_to: target.to }) : `sent to ${target.to}`)
    return
  }
  const { ack, id } = options
  const own: PublishOptions = { ...(ack !== undefined && { ack }), ...(id !== undefined && { id }) }
  const result = await client.publish(target.room, target.channel, payload, own)
  terminal.out(options.json === true ? toPrintableJson(result) : describe(result))
}

/** `stored at 1:12 (disk) as arq_…`: the epoch and the sequence, what it survives, its id. */
export function describe({ id, position, level, duplicate }: PublishResult): string {
  if (level === undefined) return `sent as ${id}`
  const at = position === undefined ? '' : ` at ${position.epoch}:${position.sequence}`
  const verb = duplicate ? 'stored before' : position === undefined ? 'accepted' : 'stored'
  return `${verb}${at} (${level}) as ${id}`
}

function parseObject(text: string, what: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ExitError(exitCodes.usage, `${what} is not JSON`, `Example: '{"text":"hello"}'`)
  }
  if (isJsonObject(value)) return value
  throw new ExitError(exitCodes.usage, `${what} is not a JSON object`, `Example: '{"text":"hello"}'`)
}
