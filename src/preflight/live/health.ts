// What the bus says of itself over HTTP.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { get } from './http.ts'

export async function lookAtHealth({ targets }: CheckPorts, signal: AbortSignal) {
  const base = targets.http!
  return {
    health: await answerOf(base, '/health', signal),
    version: await answerOf(base, '/version', signal),
    ready: await answerOf(base, '/ready', signal),
  }
}

/** Of a body that is a JSON object, what can be judged. */
export async function answerOf(base: URL, path: string, signal: AbortSignal): Promise<JsonObject> {
  const { status, body } = await get(new URL(path, base), signal)
  const parsed = parse(body)
  if (!isJsonObject(parsed)) return { status }
  const kept = ['status', 'version', 'components'].filter((key) => parsed[key] !== undefined)
  return { status, body: Object.fromEntries(kept.map((key) => [key, parsed[key]!])) }
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined // no JSON: there is no body to judge
  }
}
