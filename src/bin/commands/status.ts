// `arqonbus status`: what the bus says of itself over HTTP.
import { Command } from 'commander'
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { localUrl } from '../local-url.ts'
import { type Terminal, toPrintable, toPrintableJson, toPrintableWord } from '../terminal.ts'

export function statusCommand(terminal: Terminal): Command {
  return new Command('status')
    .description('Print the state of a bus; exits with 1 when it is not healthy')
    .option('--http-url <url>', 'HTTP address of the bus (env ARQONBUS_HTTP_URL; default http://127.0.0.1:8080)')
    .option('--token <jwt>', 'bearer token, where the status is not public (env ARQONBUS_AUTH_JWT)')
    .option('--json', 'print the answer as it is')
    .action((options: { httpUrl?: string; token?: string; json?: boolean }) => status(options, terminal))
}

async function status(
  options: { httpUrl?: string; token?: string; json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const token = options.token ?? terminal.env['ARQONBUS_AUTH_JWT']
  const answer = await getJson(
    `${options.httpUrl ?? terminal.env['ARQONBUS_HTTP_URL'] ?? localUrl('http', 'http', terminal.env)}/status`,
    token,
  )
  if (options.json === true) terminal.out(toPrintableJson(answer))
  else for (const line of rows(answer, '')) terminal.out(line)
  if (answer['status'] !== 'healthy') {
    throw new ExitError(exitCodes.failure, `the bus is ${toPrintable(answer['status'] ?? 'in an unknown state')}`)
  }
}

/** GETs a JSON object; every failure becomes words and an exit code. */
export async function getJson(url: string, token?: string): Promise<JsonObject> {
  let response: Response
  try {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    response = await fetch(url, { headers, signal: AbortSignal.timeout(5_000) })
  } catch {
    throw new ExitError(
      exitCodes.unreachable,
      `nothing answers at ${url}`,
      'Is the bus running? `arqonbus up` starts one here; --http-url names another.',
    )
  }
  if (response.status === 401 || response.status === 403) {
    throw new ExitError(
      exitCodes.denied,
      `${url} answers ${response.status}`,
      'Give a token with --token or ARQONBUS_AUTH_JWT.',
    )
  }
  const body: unknown = await response.json().catch(() => undefined)
  if (!isJsonObject(body)) {
    throw new ExitError(
      exitCodes.failure,
      `${url} answers ${response.status} and no JSON object`,
      'Is that the HTTP port of a bus?',
    )
  }
  return body
}

/** A JSON object as `name.of.value  value` lines. */
function rows(value: JsonValue, name: string): string[] {
  if (isJsonObject(value)) {
    return Object.entries(value).flatMap(([key, one]) => rows(one, name === '' ? key : `${name}.${key}`))
  }
  return [`${toPrintableWord(name)}  ${toPrintable(value)}`]
}
