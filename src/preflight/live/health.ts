// live.bus-health: the bus says it is healthy, says which version it is, and names what it looked at.
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import type { CheckPorts, CheckResult } from '../check.ts'
import { get } from './http.ts'
import { judged, ProbeFailure } from './probe-failure.ts'

export function checkBusHealth({ targets }: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return judged(async () => {
    const base = targets.http!
    const health = await getJson(base, '/health', signal)
    requireEqual('/health', 'status', health['status'], 'healthy')
    const about = await getJson(base, '/version', signal)
    requireEqual('/version', 'version', about['version'], version)
    const ready = await getJson(base, '/ready', signal)
    requireEqual('/ready', 'status', ready['status'], 'healthy')
    const names = componentsOf(ready['components'])
    return { status: 'pass', observed: `version ${version}; up: ${names.join(', ')}` }
  })
}

async function getJson(base: URL, path: string, signal: AbortSignal): Promise<JsonObject> {
  const { status, body } = await get(new URL(path, base), signal)
  if (status !== 200) throw wrong('NOT_200', `${path} answered ${status} ${statusWord(body)}`.trimEnd())
  const parsed = parse(body)
  if (!isJsonObject(parsed)) throw wrong('NOT_JSON', `${path} did not answer with a JSON object`)
  return parsed
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined // judged by the caller: not an object
  }
}

/** Of an unhealthy answer: its status and which components are not up. */
function statusWord(body: string): string {
  const parsed = parse(body)
  if (!isJsonObject(parsed)) return ''
  const { status, components } = parsed
  const down = (Array.isArray(components) ? components : [])
    .filter(isJsonObject)
    .filter((component) => component['state'] !== 'up')
    .map((component) => `${wordAt(component, 'name')} ${wordAt(component, 'state')}`)
  return [typeof status === 'string' ? status : '', ...down].join(' ')
}

function requireEqual(path: string, key: string, found: JsonValue | undefined, wanted: string): void {
  if (found !== wanted)
    throw wrong(
      `NOT_${wanted === version ? 'THIS_VERSION' : wanted.toUpperCase()}`,
      `${path} has ${key} ${JSON.stringify(found)}, not ${wanted}`,
    )
}

/** Without components the answer says only that somebody answers. */
function componentsOf(components: JsonValue | undefined): string[] {
  const list = Array.isArray(components) ? components.filter(isJsonObject) : []
  if (list.length === 0) throw wrong('NO_COMPONENTS', '/ready names no component')
  const notUp = list.filter((component) => component['state'] !== 'up')
  if (notUp.length > 0)
    throw wrong('COMPONENT_NOT_UP', `not up: ${notUp.map((component) => wordAt(component, 'name')).join(', ')}`)
  return list.map((component) => wordAt(component, 'name'))
}

function wordAt(object: JsonObject, key: string): string {
  const word = object[key]
  return typeof word === 'string' ? word : '?'
}

function wrong(code: string, found: string): ProbeFailure {
  return new ProbeFailure({
    code,
    variable: 'http',
    found,
    fix: 'see /ready of the bus: it says which component is not up',
  })
}
