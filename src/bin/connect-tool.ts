// How the daily tools reach a bus: which address, which token, and what a refused connection means.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { Role } from '../auth/identity.ts'
import { mintToken } from '../auth/mint.ts'
import { keys } from '../config/keys.ts'
import { type Client, ClientError, connect, type ConnectOptions, type WireFormat } from '../client/client.ts'
import { ExitError, exitCodes } from './exit-codes.ts'
import { localUrl } from './local-url.ts'
import { tryHandshake } from './handshake.ts'
import type { Terminal } from './terminal.ts'

export interface ToolOptions {
  readonly url?: string
  readonly token?: string
  readonly format?: WireFormat
  readonly dataDir?: string
}

/** Whose token is made where none is given and there is a development secret. */
export interface Developer {
  readonly tenant: string
  readonly role: Role
}

/** The options that every tool with a connection has. */
export function addToolOptions(command: Command): Command {
  return command
    .option('--url <ws-url>', 'bus or Shield (env ARQONBUS_WS_URL; default ws://127.0.0.1:9100)')
    .option('--token <jwt>', 'bearer token (env ARQONBUS_AUTH_JWT, which keeps it out of the process list)')
    .option('--format <format>', 'wire format: json or protobuf (default: what the server starts with)', parseFormat)
    .option('--data-dir <dir>', 'where to look for a development secret (env ARQONBUS_DATA_DIR)')
}

function parseFormat(value: string): WireFormat {
  if (value === 'json' || value === 'protobuf') return value
  throw new ExitError(exitCodes.usage, `--format is json or protobuf, not ${value}`)
}

export async function openToolClient(
  options: ToolOptions,
  terminal: Terminal,
  extra: Partial<ConnectOptions> = {},
  developer: Developer = { tenant: 'default', role: 'user' },
): Promise<Client> {
  const url = options.url ?? terminal.env['ARQONBUS_WS_URL'] ?? localUrl('ws', 'server', terminal.env)
  const token =
    options.token ?? terminal.env['ARQONBUS_AUTH_JWT'] ?? (await developmentToken(url, options, terminal, developer))
  try {
    return await connect({
      url,
      ...(options.format !== undefined && { format: options.format }),
      ...(token !== undefined && { token }),
      ...extra,
    })
  } catch (error) {
    if (error instanceof ClientError && error.code === 'CONNECTION_FAILED') throw await explain(url, token, error)
    throw error
  }
}

/** A token from the secret that `arqonbus up` keeps, for this machine only: it must not travel to others. */
async function developmentToken(
  url: string,
  options: ToolOptions,
  terminal: Terminal,
  { tenant, role }: Developer,
): Promise<string | undefined> {
  if (!isLoopback(url)) return undefined
  const dataDir = dataDirOf(options, terminal)
  const secret = await readDevelopmentSecret(dataDir)
  if (secret === undefined) return undefined
  terminal.note(
    `no token given; using one made with the development secret in ${dataDir} (tenant ${tenant}, role ${role})`,
  )
  return mintToken({ secret, tenant, subject: 'cli', role, ttlSeconds: 3_600 })
}

export function dataDirOf(options: { dataDir?: string }, terminal: Terminal): string {
  return options.dataDir ?? terminal.env['ARQONBUS_DATA_DIR'] ?? keys.dataDir.fallback('dev')
}

/** The generated secret of a data folder, or undefined where there is none. */
export async function readDevelopmentSecret(dataDir: string): Promise<string | undefined> {
  if (!existsSync(dataDir)) return undefined
  const { devSecretFile } = await import('../app/up.ts')
  try {
    return await readFile(join(dataDir, devSecretFile), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new ExitError(
      exitCodes.config,
      `the development secret in ${dataDir} cannot be read`,
      'Give a token with --token or ARQONBUS_AUTH_JWT, or fix the permissions of the folder.',
    )
  }
}

function isLoopback(url: string): boolean {
  const host = URL.canParse(url) ? new URL(url).hostname : ''
  return host === 'localhost' || host === '[::1]' || /^127(?:\.\d+){3}$/.test(host)
}

async function explain(url: string, token: string | undefined, error: ClientError): Promise<ExitError> {
  const address = URL.canParse(url) ? new URL(url) : undefined
  if (address === undefined || !/^wss?:$/.test(address.protocol)) {
    return new ExitError(
      exitCodes.usage,
      `${url} is not a ws:// or wss:// address`,
      'Example: --url ws://127.0.0.1:9100',
    )
  }
  const answer = await tryHandshake(address, token, 3_000)
  if (answer?.status === 401 || answer?.status === 403) {
    return new ExitError(
      exitCodes.denied,
      `${url} refused the connection with ${answer.status}: ${answer.details}`,
      token === undefined
        ? 'It needs a token: --token or ARQONBUS_AUTH_JWT; `arqonbus token` makes one.'
        : 'The token is not good there: wrong secret, wrong tenant, or past its end.',
    )
  }
  return answer === undefined
    ? new ExitError(
        exitCodes.unreachable,
        `nothing answers at ${url}`,
        'Is it running? `arqonbus up` starts one here; --url or ARQONBUS_WS_URL names another.',
      )
    : new ExitError(
        exitCodes.unreachable,
        `${url} answers ${answer.status} (${answer.details}): ${error.message}`,
        'The bus listens at ws://host:9100, a Shield at ws://host:4000/ws.',
      )
}
