// Can every listener be opened where the configuration puts it?
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { basename, join } from 'node:path'
import type { JsonObject } from '../../base/json.ts'
import type { FaultClass, Finding } from '../../rules/rule.ts'
import { type Check, type CheckPorts, defineCheck, failed, type JudgePorts, passed } from '../check.ts'
import type { TargetName } from '../targets.ts'
import { type Host, readText, word } from './host.ts'
import { inProduction } from './node-checks.ts'
import { portWorlds } from './port-worlds.ts'

interface Listener {
  /** The variable that moves it. */
  readonly variable: string
  readonly host: string
  readonly port: number
  /** What of --target says that it runs already. */
  readonly target: TargetName
}

function listenersOf({ values }: JudgePorts['ctx']['resolution']): Listener[] {
  const all: Listener[] = [
    { variable: 'ARQONBUS_SERVER_PORT', host: values.serverHost, port: values.serverPort, target: 'bus' },
    { variable: 'ARQONBUS_HTTP_PORT', host: values.httpHost, port: values.httpPort, target: 'http' },
    { variable: 'SHIELD_PORT', host: values.shieldHost, port: values.shieldPort, target: 'shield' },
    {
      variable: 'SHIELD_METRICS_PORT',
      host: values.shieldMetricsHost,
      port: values.shieldMetricsPort,
      target: 'shield',
    },
  ]
  if (values.telemetryEnabled) {
    const { telemetryHost: host, telemetryPort: port } = values
    all.push({ variable: 'ARQONBUS_TELEMETRY_PORT', host, port, target: 'telemetry' })
  }
  return all.filter(({ port }) => port !== 0) // 0 is any free one
}

/** Binds and lets go: '' or the code of what stands in the way. */
async function tryToBind(host: string, port: number, signal: AbortSignal): Promise<string> {
  const server = createServer()
  return await new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'UNKNOWN'))
    server.listen({ host, port, exclusive: true, signal }, () => server.close(() => resolve('')))
  })
}

/** The process that listens on a port, as far as procfs tells: another user's stays unknown. */
function ownerOf(port: number, { proc }: Host): { pid: number; words: string[] } | undefined {
  const inodes = new Set<string>()
  for (const table of ['net/tcp', 'net/tcp6']) {
    for (const line of (readText(join(proc, table)) ?? '').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      const isListening = state === '0A'
      if (isListening && Number.parseInt(local!.split(':')[1]!, 16) === port) inodes.add(`socket:[${inode}]`)
    }
  }
  for (const pid of namesIn(proc).filter((name) => /^\d+$/.test(name))) {
    if (!namesIn(join(proc, pid, 'fd')).some((fd) => inodes.has(linkOf(join(proc, pid, 'fd', fd))))) continue
    // Only names of program and script: the rest of a command line may hold secrets.
    const words = commandOf(join(proc, pid, 'cmdline'))
      .slice(0, 2)
      .filter((word) => !word.startsWith('-'))
    return { pid: Number(pid), words: words.map((word) => basename(word)) }
  }
  return undefined
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return [] // gone meanwhile, or not ours to see
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function commandOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\0')
  } catch {
    return []
  }
}

async function look(listener: Listener, ports: CheckPorts, signal: AbortSignal, host: Host): Promise<JsonObject> {
  const trouble = await tryToBind(listener.host, listener.port, signal)
  const owner = trouble === 'EADDRINUSE' ? ownerOf(listener.port, host) : undefined
  return {
    variable: listener.variable,
    at: `${listener.host}:${listener.port}`,
    trouble,
    isTarget: ports.targets[listener.target] !== undefined,
    ...(owner !== undefined && {
      owner: `pid ${owner.pid} (${owner.words.join(' ')})`,
      isOurs: owner.pid === process.pid || owner.words.some((word) => /^arqonbus(?:\.m?[jt]s)?$/.test(word)),
    }),
  }
}

const codes: Readonly<Record<string, { code: string; class: FaultClass; fix: string }>> = {
  EADDRINUSE: {
    code: 'PORT_IN_USE',
    class: 'dependency',
    fix: 'end the process that holds the port, choose another, or name the running system with --target',
  },
  EADDRNOTAVAIL: { code: 'ADDRESS_NOT_HERE', class: 'config', fix: 'set the host to an address of this machine' },
  EACCES: { code: 'NOT_ALLOWED', class: 'config', fix: 'choose a port from 1024, or give CAP_NET_BIND_SERVICE' },
  ENOTFOUND: { code: 'HOST_UNKNOWN', class: 'config', fix: 'set the host to a name that resolves, or to an address' },
}

export function portChecks(host: Host): readonly Check[] {
  return [
    defineCheck({
      id: 'bus.server-port-free',
      title: 'Every listener can be opened',
      proves:
        'Bus, HTTP, telemetry, Shield and metrics could bind where they are told, or the running system holds the port.',
      evidence: 'Each address, and the process that holds it.',
      fix: 'The finding names the listener and what stands in its way.',
      runbook: ['L20'],
      phase: 'deps',
      severity: 'critical',
      class: 'dependency',
      requires: ['bus.server-host-explicit', 'bus.server-port-explicit'],
      appliesWhen: inProduction,
      deadlineMs: 5_000,
      effects: [{ kind: 'net', what: 'binds each listener of ours and lets go' }],
      retryOn: [],
      shape: { listeners: 'objects' },
      async probe(ports, signal) {
        const listeners: JsonObject[] = []
        // One after the other: two of ours on one port are a matter of the configuration's rules.
        for (const listener of listenersOf(ports.ctx.resolution)) {
          listeners.push(await look(listener, ports, signal, host))
        }
        return { listeners }
      },
      judge({ listeners }) {
        if (listeners.length === 0)
          return failed('NO_LISTENERS', 'ARQONBUS_SERVER_PORT', 'every port is 0', 'set the ports')
        const faults = listeners.filter(({ trouble, isTarget, isOurs }) => {
          // An owner that cannot be seen is believed to be the target, which the live checks then speak to.
          const isRunning = trouble === 'EADDRINUSE' && isTarget === true && isOurs !== false
          return trouble !== '' && !isRunning
        })
        const found = faults.map(({ variable, at, trouble, owner }) => {
          const meaning = codes[word(trouble)] ?? {
            code: 'CANNOT_BIND',
            class: 'dependency',
            fix: 'look at the code',
          }
          const held = owner === undefined ? '' : `, held by ${word(owner)}`
          const finding: Finding = {
            code: meaning.code,
            variable: word(variable),
            found: `${word(at)}: ${word(trouble)}${held}`,
            fix: meaning.fix,
          }
          return { finding, fault: meaning.class as FaultClass }
        })
        const [first, ...others] = found
        if (first === undefined) return passed(listeners.map(({ at }) => word(at)).join(', '))
        return {
          status: 'fail',
          findings: [first.finding, ...others.map(({ finding }) => finding)],
          class: found.every(({ fault }) => fault === 'config') ? 'config' : 'dependency',
        }
      },
      worlds: portWorlds,
    }),
  ]
}
