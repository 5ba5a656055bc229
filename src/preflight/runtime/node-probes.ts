// What the checks of Node look at: which Node the servers will run on, and every place that pins one.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { CheckPorts } from '../check.ts'
import { given, type Host, objectIn, onPath, readJson, readText, run, textIn, word } from './host.ts'
import { parseVersion } from './versions.ts'

export interface EffectiveNode {
  readonly file: string
  readonly version: string
  /** Of native add-ons (NODE_MODULE_VERSION). */
  readonly modules: string
}

/** Below this the launcher goes on with the pinned package (bin/arqonbus.mjs). */
const oldestNode = 24

async function askNode(file: string, ports: CheckPorts, signal: AbortSignal, host: Host): Promise<EffectiveNode> {
  const { out } = await run(file, ['-p', 'JSON.stringify(process.versions)'], { ports, signal, cwd: host.root })
  let versions: unknown
  try {
    versions = JSON.parse(out)
  } catch {
    versions = {}
  }
  const found = versions as { node?: unknown; modules?: unknown } | null
  return { file, version: word(found?.node ?? ''), modules: word(found?.modules ?? '') }
}

/**
 * The Node that the servers will run on: the one of their PATH, or the pinned package where that one is too old, as
 * the launcher decides it. Without a PATH in the start environment it is the one that runs this preflight, which the
 * same launcher has chosen. Undefined where there is none.
 */
export async function effectiveNode(
  ports: CheckPorts,
  signal: AbortSignal,
  host: Host,
): Promise<EffectiveNode | undefined> {
  const first = given(ports, 'PATH') === undefined ? host.node : onPath(ports, 'node')
  if (first === undefined) return undefined
  const node = await askNode(first, ports, signal, host)
  const major = parseVersion(node.version)?.[0]
  if (major === undefined || major >= oldestNode) return node
  const pinned = pinnedNode(host)
  return pinned === undefined ? node : await askNode(pinned, ports, signal, host)
}

function pinnedNode({ root }: Host): string | undefined {
  try {
    return createRequire(join(root, 'package.json')).resolve(`node-${process.platform}-${process.arch}/bin/node`)
  } catch {
    return undefined
  }
}

/** Every place that names a Node version. The exact version of the pinned package is the pin; the others agree with it. */
export function pinsOf({ root }: Host): { file: string; kind: 'exact' | 'range'; value: string }[] {
  const manifest = readJson(join(root, 'package.json'))
  const exact = (file: string, value: string) => ({ file, kind: 'exact' as const, value })
  const packaged = Object.entries(objectIn(manifest, 'optionalDependencies'))
    .filter(([name]) => /^node-linux-\w+$/.test(name))
    .map(([name, value]) => exact(`package.json ${name}`, word(value)))
  const range = textIn(objectIn(manifest, 'engines'), 'node')
  const file = readText(join(root, '.node-version'))
  const tags = [...(readText(join(root, 'Dockerfile')) ?? '').matchAll(/^FROM\s+(?:\S+\/)?node:(\d[\d.]*)/gim)]
  return [
    ...packaged,
    ...(file === undefined ? [] : [exact('.node-version', file.trim().replace(/^v/, ''))]),
    ...tags.map((match) => exact('Dockerfile', match[1]!)),
    ...(range === undefined ? [] : [{ file: 'package.json engines', kind: 'range' as const, value: range }]),
  ]
}

/** SHA-256 of a program, links followed, in hex; undefined where it cannot be read. Ends with `signal`. */
export async function hashProgram(file: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash, { signal })
    return hash.digest('hex')
  } catch {
    return undefined
  }
}
