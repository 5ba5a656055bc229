// The Node that runs the servers, its options, and the package manager that made the tree.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { production } from '../../rules/predicates.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Applicability, type Check, defineCheck, failed, judgeAll, passed } from '../check.ts'
import { isBuild, given, type Host, onPath, readJson, run, textIn, word } from './host.ts'
import { effectiveNode, hashProgram, pinsOf } from './node-probes.ts'
import { flagWorlds, nodeWorlds, packageManagerWorlds, supportWorlds } from './node-worlds.ts'
import { inRange } from './versions.ts'

export const inProduction: Applicability = { name: production.name, test: ({ ctx }) => production.test(ctx) }
export const always: Applicability = { name: 'always', test: () => ({ holds: true, because: 'always' }) }

const useThePin = 'put the pinned Node first in the PATH of the unit (see .node-version), or change every pin to it'
const alignPins = 'write one version into package.json, .node-version and Dockerfile, within engines.node'

/** What differs from machine to machine, or from one build of a version to another, is told and decides nothing. */
function describeNode(path: string, version: string, abi: string | undefined, sha256: string | undefined): string {
  return `${path} ${version}, ABI ${abi ?? 'not told'}, SHA-256 ${sha256 ?? 'not readable'}`
}

export function nodeChecks(host: Host): readonly Check[] {
  return [
    defineCheck({
      id: 'runtime.node-pinned',
      title: 'The servers run on the pinned Node',
      proves: 'The Node that the launcher ends up with has the one version that all pins name.',
      evidence: 'Path, version, ABI and SHA-256 of that Node, and each pin with its file.',
      fix: useThePin,
      runbook: ['L11'],
      phase: 'deps',
      severity: 'blocker',
      class: 'config',
      requires: [],
      appliesWhen: inProduction,
      deadlineMs: 5_000,
      effects: [
        { kind: 'spawn', what: 'node -p process.versions' },
        { kind: 'file', what: 'the program itself' },
      ],
      shape: { path: 'string?', version: 'string', abi: 'string?', sha256: 'string?', pins: 'objects' },
      async probe(ports, signal) {
        const node = await effectiveNode(ports, signal, host)
        if (node === undefined) return { version: '', pins: pinsOf(host) }
        const sha256 = await hashProgram(node.file, signal)
        const known = { path: node.file, version: node.version, abi: node.modules }
        return { ...known, ...(sha256 !== undefined && { sha256 }), pins: pinsOf(host) }
      },
      judge({ path, version, abi, sha256, pins }, { ctx }) {
        const [pin, ...others] = pins.filter(({ kind }) => kind === 'exact').map(({ value }) => word(value))
        if (pin === undefined) return failed('PIN_MISSING', 'package.json', 'no pin of Node', alignPins)
        const ranges = pins.filter(({ kind }) => kind === 'range').map(({ value }) => word(value))
        if (others.some((other) => other !== pin) || ranges.some((range) => !inRange(pin, range))) {
          const all = pins.map(({ file, value }) => `${word(file)} ${word(value)}`).join(', ')
          return failed('PINS_DISAGREE', 'package.json', all, alignPins)
        }
        if (path === undefined) return failed('NODE_MISSING', 'PATH', 'no Node in the PATH of the start', useThePin)
        // Production runs what was tested. Staging may try the next release of the same line.
        const allowed = ctx.profile === 'prod' ? `=${pin}` : `^${pin}`
        return inRange(version, allowed)
          ? passed(describeNode(path, version, abi, sha256), { version })
          : failed('NODE_NOT_PINNED', 'PATH', `${path} is ${version || 'no Node'}, the pin is ${pin}`, useThePin)
      },
      worlds: nodeWorlds,
    }),
    defineCheck({
      id: 'runtime.node-supported',
      title: 'That Node still gets security fixes',
      proves: 'The end of life of its release line is not reached.',
      evidence: 'The release line and its date.',
      fix: 'Plan the next long-term release.',
      runbook: ['L11'],
      phase: 'deps',
      severity: 'advisory',
      class: 'dependency',
      requires: ['runtime.node-pinned'],
      appliesWhen: always,
      deadlineMs: 5_000,
      effects: [{ kind: 'spawn', what: 'node -p process.versions' }],
      shape: { version: 'string' },
      async probe(ports, signal) {
        return { version: (await effectiveNode(ports, signal, host))?.version ?? '' }
      },
      judge({ version }, { now }) {
        const end = endOfLife[version.split('.')[0]!]
        const next = 'plan the next long-term release of Node'
        if (end === undefined)
          return failed('RELEASE_UNKNOWN', 'PATH', `Node ${version || 'of no version'} is in no table`, next)
        return now < Date.parse(end)
          ? passed(`Node ${version} until ${end}`)
          : failed('END_OF_LIFE', 'PATH', `Node ${version} ended on ${end}`, next)
      },
      worlds: supportWorlds,
    }),
    flagsSafe,
    packageManager(host),
  ]
}

/** The project's schedule; the day after the last fix. */
const endOfLife: Readonly<Record<string, string>> = {
  20: '2026-04-30',
  22: '2027-04-30',
  24: '2028-04-30',
  26: '2029-04-30',
}

/** Options that change how much memory, logs or checks there are, and nothing of what runs. */
const harmlessOptions = new Set([
  '--max-old-space-size',
  '--max-semi-space-size',
  '--max-http-header-size',
  '--enable-source-maps',
  '--trace-warnings',
  '--trace-uncaught',
  '--unhandled-rejections',
  '--use-system-ca',
  '--use-openssl-ca',
  '--dns-result-order',
  '--report-on-fatalerror',
  '--report-directory',
])
const loaders = new Set(['--require', '-r', '--import', '--loader', '--experimental-loader'])

/** Names of the options in a NODE_OPTIONS text; underscores count as dashes, as Node has it. */
function optionNames(text = ''): string[] {
  return (text.match(/(?:"(?:\\.|[^"])*"|\S)+/g) ?? [])
    .map((word) => word.replace(/"/g, ''))
    .filter((word) => word.startsWith('-'))
    .map((word) => word.split('=')[0]!.replace(/_/g, '-'))
}

function optionFindings(names: readonly string[], variable: string): Finding[] {
  const groups = Object.groupBy(names, (name) => {
    if (name.startsWith('--inspect')) return 'INSPECTOR'
    if (loaders.has(name)) return 'CODE_LOADED'
    return harmlessOptions.has(name) ? 'HARMLESS' : 'OPTION_UNKNOWN'
  })
  const finding = (code: keyof typeof groups, what: string): Finding[] => {
    const found = groups[code]?.join(', ')
    return found === undefined ? [] : [{ code, variable, found, fix: `remove ${what} from ${where[variable]}` }]
  }
  return [
    ...finding('INSPECTOR', '--inspect'),
    ...finding('CODE_LOADED', '--require, --import and --loader'),
    ...finding('OPTION_UNKNOWN', 'it'),
  ]
}

/** In words, by variable. */
const where: Readonly<Record<string, string>> = {
  NODE_OPTIONS: 'NODE_OPTIONS',
  command: 'the command of the unit or manifest',
}

const describeOptions = (names: readonly string[]): string => (names.length === 0 ? 'no options' : names.join(', '))

/**
 * The row asks for NODE_ENV=production. Nothing of this product or of what it imports behaves differently by it, so that
 * an unset one changes nothing and is no finding; one that says something else contradicts the profile.
 */
const flagsSafe = defineCheck({
  id: 'runtime.flags-safe',
  title: 'Node starts without a debugger, foreign code or blind trust',
  proves:
    'No variable of the start, and no option of its command, opens a debugger, loads code, switches TLS checks off or contradicts production.',
  evidence:
    'Names of the variables and options. The command is seen where --env-from names a unit, manifest or process.',
  fix: 'The finding names what to remove.',
  runbook: ['L11'],
  phase: 'static',
  severity: 'critical',
  class: 'config',
  requires: [],
  appliesWhen: inProduction,
  deadlineMs: 1_000,
  effects: [{ kind: 'env', what: 'NODE_OPTIONS, NODE_TLS_REJECT_UNAUTHORIZED, NODE_ENV, options of the command' }],
  shape: { flags: 'strings' },
  probe: ({ envSource }) => Promise.resolve({ flags: envSource?.nodeFlags ?? [] }),
  judge({ flags }, { ctx }) {
    const names = optionNames(given({ ctx }, 'NODE_OPTIONS'))
    const findings = [...optionFindings(names, 'NODE_OPTIONS'), ...optionFindings(flags, 'command')]
    if (given({ ctx }, 'NODE_TLS_REJECT_UNAUTHORIZED') === '0') {
      const variable = 'NODE_TLS_REJECT_UNAUTHORIZED'
      const fix = 'remove NODE_TLS_REJECT_UNAUTHORIZED; name the authority in NODE_EXTRA_CA_CERTS instead'
      findings.push({ code: 'TLS_UNCHECKED', variable, found: '0', fix })
    }
    const mode = given({ ctx }, 'NODE_ENV')
    if (ctx.profile === 'prod' && mode !== undefined && mode !== 'production') {
      const fix = 'set NODE_ENV=production, or remove it'
      findings.push({ code: 'NODE_ENV_CONTRADICTS', variable: 'NODE_ENV', found: JSON.stringify(mode), fix })
    }
    return judgeAll(findings, describeOptions([...names, ...flags]))
  },
  worlds: flagWorlds,
})

function packageManager(host: Host): Check {
  return defineCheck({
    id: 'runtime.pm-pinned',
    title: 'One package manager, of one version, makes the tree',
    proves: 'package.json pins npm by version and hash, and the npm of the start has that version, or there is none.',
    evidence: 'Both versions.',
    fix: 'Install the npm that packageManager names: corepack use npm@<version>.',
    runbook: ['L11'],
    phase: 'deps',
    severity: 'high',
    class: 'config',
    requires: [],
    appliesWhen: inProduction,
    deadlineMs: 5_000,
    effects: [{ kind: 'spawn', what: 'npm --version' }],
    shape: { isPackaged: 'boolean', pin: 'string?', installed: 'string?' },
    async probe(ports, signal) {
      const pin = textIn(readJson(join(host.root, 'package.json')), 'packageManager')
      const file = onPath(ports, 'npm')
      const ran = file === undefined ? undefined : await run(file, ['--version'], { ports, signal, cwd: '/' })
      return {
        // Built, and the lockfile left behind: nothing is installed there.
        isPackaged: !existsSync(join(host.root, 'package-lock.json')) && isBuild(host),
        ...(pin !== undefined && { pin }),
        ...(ran !== undefined && { installed: ran.isOk ? ran.out : '' }),
      }
    },
    judge({ isPackaged, pin, installed }) {
      const variable = 'package.json packageManager'
      const match = /^npm@(\d+\.\d+\.\d+)\+sha512\.[0-9a-f]{128}$/.exec(`${pin}`)
      if (match === null) {
        const fix = 'set "packageManager" to npm@<version>+sha512.<hash>: corepack use npm@<version>'
        return failed('NOT_PINNED', variable, pin ?? 'absent', fix)
      }
      if (isPackaged) return passed('packaged: nothing is installed here')
      if (installed === undefined) return passed('no npm is installed here')
      const fix = 'install the npm that packageManager names: corepack enable npm'
      return installed === match[1]
        ? passed(`npm ${installed}`)
        : failed('OTHER_VERSION', variable, `npm is ${installed || 'not working'}, the pin is ${match[1]}`, fix)
    },
    worlds: packageManagerWorlds,
  })
}
