// One request to Ollama's HTTP API and its JSON answer, or the reason why there is none.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { parseServiceUrl } from '../../config/urls.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop, stopCodeOf } from '../stops.ts'

export interface Ollama {
  get(path: string): Promise<JsonObject>
  /** Undefined where what is asked about is not there (404). */
  post(path: string, body: JsonObject): Promise<JsonObject | undefined>
}

const maxAnswerBytes = 4 * 1024 * 1024

/** Throws ProbeStop for an address that is none. */
export function ollamaAt({ ctx }: CheckPorts, signal: AbortSignal): Ollama {
  const parsed = parseServiceUrl(ctx.resolution.values.ollamaUrl.reveal())
  const [host, another] = parsed?.hosts ?? []
  if (
    parsed === undefined ||
    !['http', 'https'].includes(parsed.scheme) ||
    host === undefined ||
    another !== undefined
  ) {
    throw new ProbeStop('BAD_ADDRESS', 'ARQONBUS_OLLAMA_URL is no address such as http://127.0.0.1:11434', 'address')
  }
  const { scheme, user, password = '', path } = parsed
  const port = host.port ?? (scheme === 'https' ? 443 : 80)
  const base = `${scheme}://${host.host}:${port}${path.replace(/\/$/, '')}`
  // In the address a user would be refused by fetch, and could end in an error's text.
  const identity = user === undefined ? {} : { authorization: `Basic ${btoa(`${user}:${password}`)}` }

  async function ask(method: 'GET' | 'POST', path: string, body?: JsonObject): Promise<JsonObject | undefined> {
    const step = `${method} ${path}`
    let response: Response
    let text: string
    try {
      response = await fetch(`${base}${path}`, {
        method,
        redirect: 'manual',
        signal,
        headers: { accept: 'application/json', connection: 'close', ...identity },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      text = await bounded(response)
    } catch (error) {
      throw toStop(error, step)
    }
    const { status } = response
    if (status === 404 && method === 'POST') return undefined
    if (status === 401 || status === 403) throw new ProbeStop('AUTH_REFUSED', `status ${status}`, step)
    if (status >= 500) throw new ProbeStop('SERVER_ERROR', `status ${status}`, step)
    const value = status === 200 ? parse(text) : undefined
    if (value === undefined) {
      const found = status === 200 ? 'the answer is not a JSON object' : `status ${status}`
      throw new ProbeStop('NOT_THE_PROTOCOL', found, step)
    }
    return value
  }

  return {
    async get(path) {
      return (await ask('GET', path)) ?? {}
    },
    post: (path, body) => ask('POST', path, body),
  }
}

async function bounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > maxAnswerBytes) break
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** fetch keeps what went wrong as the cause of its own error. */
function toStop(error: unknown, step: string): ProbeStop {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const own = (cause as { code?: unknown }).code
  const code = typeof own === 'string' ? own : ''
  const words = cause instanceof Error ? cause.message : 'failed'
  if ((cause as Error).name === 'HTTPParserError') return new ProbeStop('NOT_THE_PROTOCOL', words, step)
  if (code === 'UND_ERR_SOCKET') return new ProbeStop('HUNG_UP', words, step)
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return new ProbeStop('ETIMEDOUT', words, step)
  return new ProbeStop(stopCodeOf(cause) ?? 'THREW', words, step)
}
