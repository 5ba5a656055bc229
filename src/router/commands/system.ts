// status, ping, help and auth.refresh.
import { toIsoTime } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import type { JsonObject } from '../../base/json.ts'
import { optionalText, requiredText } from '../args.ts'
import type { Command } from '../command.ts'

export const status: Command = {
  summary: 'The state of the server in counts',
  args: {},
  permission: 'none',
  run(_call, ports) {
    return { message: 'Status', data: { ...ports.status(), timestamp: toIsoTime(ports.clock.now()) } }
  },
}

export const ping: Command = {
  summary: 'Answers at once; `timestamp` in the arguments is echoed',
  args: { timestamp: 'any text, optional' },
  permission: 'none',
  run({ client, args, request }, ports) {
    const now = ports.clock.now()
    const sent = Date.parse(request.timestamp)
    return {
      message: 'pong',
      data: {
        pong: true,
        // Of the two clocks; negative when the client's runs ahead.
        latency_ms: Number.isNaN(sent) ? null : now - sent,
        client_id: client.id,
        timestamp: toIsoTime(now),
        client_info: {
          tenant: client.identity.tenant,
          subject: client.identity.subject,
          role: client.identity.role,
          format: client.format,
          connected_at: toIsoTime(client.connectedAtMs),
        },
        ...(args['timestamp'] !== undefined && { echo: args['timestamp'] }),
      },
    }
  },
}

export const refresh: Command = {
  summary: "Replace the session's token by a newer one of the same subject and tenant",
  args: { token: 'the new token' },
  permission: 'none',
  async run({ client, args }, ports) {
    await ports.refreshIdentity(client, requiredText(args, 'token'))
    const { expiresAtMs } = client.identity
    return {
      message: 'Token accepted',
      data: { expires_at: expiresAtMs === undefined ? null : toIsoTime(expiresAtMs) },
    }
  },
}

/** `help` speaks of the table it stands in, so it is made from it. */
export function createHelp(table: () => Readonly<Record<string, Command>>): Command {
  const describe = (name: string, command: Command): JsonObject => ({
    name,
    summary: command.summary,
    args: { ...command.args },
    permission: command.permission,
  })
  return {
    summary: 'List the commands, or explain one',
    args: { command: 'name of a command, optional' },
    permission: 'none',
    run({ args }) {
      const commands = table()
      const wanted = optionalText(args, 'command')
      if (wanted === undefined) {
        const names = Object.keys(commands)
        return {
          message: `${names.length} commands`,
          data: {
            available_commands: names,
            commands: names.map((name) => describe(name, commands[name]!)),
            usage: '{"type":"command","command":"<name>","args":{…}}',
          },
        }
      }
      if (!Object.hasOwn(commands, wanted)) throw new BusError('COMMAND_NOT_FOUND')
      return { message: wanted, data: { commands: [describe(wanted, commands[wanted]!)] } }
    },
  }
}
