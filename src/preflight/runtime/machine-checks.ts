// What the machine gives: loadable add-ons, files, disk and memory.
import { existsSync, globSync, statfsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { getHeapStatistics } from 'node:v8'
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Check, type CheckPorts, defineCheck, judgeAll } from '../check.ts'
import { given, type Host, readText, run, word } from './host.ts'
import { addonWorlds, resourceWorlds } from './machine-worlds.ts'
import { inProduction } from './node-checks.ts'
import { effectiveNode } from './node-probes.ts'

const mib = 1 << 20
/** Files beside connections: stores, logs, modules, listeners. */
const nofileHeadroom = 256
/** Room for the embedded store and its log to grow until somebody looks. */
const leastDiskMib = 512
/** Of the memory limit; buffers and code live beside the heap. */
const heapShare = 0.75

export function machineChecks(host: Host): readonly Check[] {
  return [nativeAbi(host), resources(host)]
}

function nativeAbi(host: Host): Check {
  const fix = 'install again with the Node that runs the servers (npm ci), or leave the add-on out (--omit=optional)'
  return defineCheck({
    id: 'runtime.native-abi',
    title: 'Native add-ons load in the Node of the servers',
    proves: 'Each installed add-on that is part of the product loads in a process of that Node, or there is none.',
    evidence: 'The add-ons, and the NODE_MODULE_VERSION.',
    fix,
    runbook: ['L12'],
    phase: 'deps',
    severity: 'high',
    class: 'dependency',
    requires: ['runtime.node-pinned'],
    appliesWhen: inProduction,
    deadlineMs: 5_000,
    effects: [{ kind: 'spawn', what: 'node, which loads each add-on' }],
    shape: { modules: 'string', addons: 'objects' },
    async probe(ports, signal) {
      const node = await effectiveNode(ports, signal, host)
      const folders = globSync('node_modules/{*,@*/*}/binding.gyp', { cwd: host.root }).map(dirname).sort()
      const addons =
        node === undefined ? [] : folders.map(async (path) => await load(path, node.file, host, ports, signal))
      return { modules: node?.modules ?? '', addons: await Promise.all(addons) }
    },
    judge({ modules, addons }) {
      const findings = addons
        .filter(({ trouble }) => trouble !== '')
        .map(
          ({ path, trouble }): Finding => ({
            code: 'DOES_NOT_LOAD',
            variable: word(path),
            found: `${word(trouble)} (NODE_MODULE_VERSION ${modules})`,
            fix,
          }),
        )
      return judgeAll(findings, addons.length === 0 ? 'no add-ons' : addons.map(({ path }) => word(path)).join(', '))
    },
    worlds: addonWorlds,
  })
}

/** By its loader, not by its main file: that one falls back to JavaScript without a word. */
async function load(
  path: string,
  node: string,
  host: Host,
  ports: CheckPorts,
  signal: AbortSignal,
): Promise<JsonObject> {
  const program = `
    const { createRequire } = require('node:module')
    const own = createRequire(process.argv[1] + '/package.json')
    try { own('node-gyp-build')(process.argv[1]) }
    catch (error) { console.log(String(error.message).split('\\n')[0]); process.exitCode = 1 }`
  const ran = await run(node, ['-e', program, join(host.root, path)], { ports, signal, cwd: host.root })
  return { path, trouble: ran.isOk ? '' : ran.out || ran.trouble || 'it died' }
}

function resources(host: Host): Check {
  return defineCheck({
    id: 'runtime.resources',
    title: 'The machine has room for what is configured',
    proves: 'Open files, disk and memory suffice for the configured connections and heap, as this process sees them.',
    evidence: 'Each number, and what is needed. Entropy is not looked at: the kernel has blocked for it at boot.',
    fix: 'LimitNOFILE= in the unit; a larger disk; --max-old-space-size below the memory limit.',
    runbook: [],
    phase: 'static',
    severity: 'high',
    class: 'config',
    requires: [],
    appliesWhen: inProduction,
    deadlineMs: 2_000,
    effects: [{ kind: 'file', what: '/proc/self/limits, the cgroup memory limit, free space of ARQONBUS_DATA_DIR' }],
    shape: { nofile: 'number?', diskMib: 'number?', memoryMib: 'number?', defaultHeapMib: 'number' },
    async probe({ ctx }) {
      const nofile = nofileLimit(readText(join(host.proc, 'self/limits')) ?? '')
      const diskMib = freeMib(ctx.resolution.values.dataDir)
      const memoryMib = memoryLimitMib(host)
      return {
        ...(nofile !== undefined && { nofile }),
        ...(diskMib !== undefined && { diskMib }),
        ...(memoryMib !== undefined && { memoryMib }),
        defaultHeapMib: Math.round(getHeapStatistics().heap_size_limit / mib),
      }
    },
    judge({ nofile, diskMib, memoryMib, defaultHeapMib }, { ctx }) {
      const { bus, shield } = ctx.resolution.limits
      const connections = Math.max(bus['maxConnections']!, shield['maxConnections']!)
      const needed = connections * 2 + nofileHeadroom
      const findings: Finding[] = []
      if (nofile !== undefined && nofile < needed) {
        const fix = 'set LimitNOFILE= in the unit to twice the connections and some, or lower ARQONBUS_MAX_CONNECTIONS'
        findings.push({ code: 'NOFILE_LOW', variable: 'LimitNOFILE', found: `${nofile}, needed ${needed}`, fix })
      }
      if (diskMib !== undefined && diskMib < leastDiskMib) {
        const fix = 'free some space there, or point ARQONBUS_DATA_DIR elsewhere'
        findings.push({ code: 'DISK_LOW', variable: 'ARQONBUS_DATA_DIR', found: `${diskMib} MiB free`, fix })
      }
      const heapMib = askedHeapMib(given({ ctx }, 'NODE_OPTIONS')) ?? defaultHeapMib
      if (memoryMib !== undefined && heapMib > memoryMib * heapShare) {
        const fix = 'raise the memory limit, or set --max-old-space-size in NODE_OPTIONS to three quarters of it'
        const found = `a heap of ${heapMib} MiB in ${memoryMib} MiB`
        findings.push({ code: 'HEAP_OVER_LIMIT', variable: 'NODE_OPTIONS', found, fix })
      }
      return judgeAll(findings, `${nofile ?? 'any'} files, ${diskMib ?? '?'} MiB disk, heap ${heapMib} MiB`)
    },
    worlds: resourceWorlds,
  })
}

/** Node raises its soft limit to the hard one as it starts, the servers' too: what is read here is what they get. */
function nofileLimit(limits: string): number | undefined {
  const match = /^Max open files\s+(\d+)/m.exec(limits)
  return match === null ? undefined : Number(match[1])
}

function freeMib(folder: string): number | undefined {
  let path = resolve(folder)
  while (!existsSync(path) && path !== dirname(path)) path = dirname(path)
  try {
    const { bavail, bsize } = statfsSync(path)
    return Math.floor((bavail * bsize) / mib)
  } catch {
    return undefined
  }
}

/** The lowest of this process's groups, version 1 or 2, as mounted; undefined where there is none. */
function memoryLimitMib({ proc, cgroup }: Host): number | undefined {
  const lines = (readText(join(proc, 'self/cgroup')) ?? '').split('\n').map((line) => line.split(':'))
  const files: string[] = []
  for (const [id, names, own] of lines) {
    if (own === undefined) continue
    const isSecond = id === '0'
    if (!isSecond && !names!.split(',').includes('memory')) continue
    const base = isSecond ? cgroup : join(cgroup, 'memory')
    const file = isSecond ? 'memory.max' : 'memory.limit_in_bytes'
    for (let path = own; ; path = dirname(path)) {
      files.push(join(base, path, file))
      if (path === dirname(path)) break
    }
  }
  const limits = files
    .map((file) => readText(file)?.trim() ?? '')
    .filter((text) => /^\d{1,15}$/.test(text)) // version 1 writes "none" as a number near 2^63
    .map(Number)
  return limits.length === 0 ? undefined : Math.floor(Math.min(...limits) / mib)
}

function askedHeapMib(options: string | undefined): number | undefined {
  const text = options?.match(/--max[-_]old[-_]space[-_]size[= ](\d+)/)?.[1]
  return text === undefined ? undefined : Number(text)
}
