// Loads a plug-in written in TypeScript or JavaScript: exactly the bytes whose digest the policy lists, and nothing they
// pull in beside it. It may import `arqonbus/preflight` and what Node has built in; another file would be code that no
// digest covers.
import { writeSync } from 'node:fs'
import { isBuiltin, registerHooks } from 'node:module'
import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describeFault } from '../build-report.ts'
import type { Check, CheckPorts } from '../check.ts'
import type { ModulePlugin } from '../prober.ts'
import { ProbeStop } from '../stops.ts'
import type { PluginPorts } from './api.ts'
import { contentOf } from './content.ts'
import { effectsOf, invalid, readHead, readResult } from './form.ts'
import { leaksOf } from './leaks.ts'

const api = new URL(`./api${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url).href
const formats: Readonly<Record<string, 'module' | 'module-typescript'>> = {
  '.js': 'module',
  '.mjs': 'module',
  '.ts': 'module-typescript',
  '.mts': 'module-typescript',
}
/** Source by the address it is imported as; the address holds the digest. */
const sources = new Map<string, { readonly source: Uint8Array; readonly format: 'module' | 'module-typescript' }>()
let isHooked = false

function hook(): void {
  if (isHooked) return
  isHooked = true
  registerHooks({
    resolve(specifier, context, next) {
      const known = sources.get(specifier)
      if (known !== undefined) return { url: specifier, format: known.format, shortCircuit: true }
      if (context.parentURL === undefined || !sources.has(context.parentURL)) return next(specifier, context)
      if (specifier === 'arqonbus/preflight') return next(api, context)
      if (isBuiltin(specifier)) return next(specifier, context)
      throw new Error(`it imports ${specifier}, which no digest covers: bundle it into one file`)
    },
    load(url, context, next) {
      const known = sources.get(url)
      return known === undefined ? next(url, context) : { ...known, shortCircuit: true }
    },
  })
}

const loadMs = 3_000
/** The verdict's code for a file that is wrong: a plug-in that ends the process does not end it with its own. */
const inputExit = 65

/** While code of a plug-in runs in this process: where it ends the process, that is its fault. Call back when it is over. */
export function guardExit(file: string): () => void {
  const refuse = (): void => {
    writeSync(2, `arqonbus: the plug-in ${file} ended the process\n`) // there is no later
    process.exitCode = inputExit
  }
  process.once('exit', refuse)
  return () => void process.off('exit', refuse)
}

/** The checks of a module, unproven. Throws CONFIG_INVALID (PLUGIN_INVALID). */
export async function loadModule({ path, sha256 }: Pick<ModulePlugin, 'path' | 'sha256'>): Promise<readonly Check[]> {
  const format = formats[extname(path)]
  if (format === undefined) throw invalid(path, ['a module is a .ts, .mts, .js or .mjs file'])
  const source = contentOf(path, sha256)
  hook()
  const url = `${pathToFileURL(path).href}?sha256=${sha256}`
  sources.set(url, { source, format })
  const exported = await imported(url, path)
  const specs: readonly unknown[] = Array.isArray(exported) ? exported : [exported]
  if (specs.length === 0) throw invalid(path, ['its default export is an empty list'])
  return specs.map((spec) => toCheck(spec, path))
}

async function imported(url: string, path: string): Promise<unknown> {
  const release = guardExit(path)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(invalid(path, [`it did not load within ${loadMs} ms`])), loadMs)
  })
  try {
    const module: object = await Promise.race([import(url) as Promise<object>, late])
    if ('default' in module) return module.default
  } catch (error) {
    if (error instanceof Error && 'details' in error) throw error
    throw invalid(path, [`it does not load: ${describeFault(error)}`])
  } finally {
    clearTimeout(timer)
    release()
  }
  throw invalid(path, ['it has no default export'])
}

/** Fields of the specification that only a module has. */
const functions = ['probe', 'judge', 'appliesWhen']

function toCheck(spec: unknown, path: string): Check {
  const { variables, ...head } = readHead(spec, path, functions)
  const { probe, judge, appliesWhen = head.appliesWhen } = spec as Partial<Check> // functions, looked at below
  const problems = [
    ...(typeof probe === 'function' ? [] : ['probe is no function']),
    ...(typeof judge === 'function' ? [] : ['judge is no function']),
    ...(typeof appliesWhen?.name === 'string' && typeof appliesWhen.test === 'function'
      ? []
      : ['appliesWhen is not {name, test}']),
  ]
  if (problems.length > 0) throw invalid(path, problems)
  const look = probe as unknown as (ports: PluginPorts, signal: AbortSignal) => Promise<Awaited<object>>
  return {
    ...head,
    appliesWhen,
    effects: effectsOf({ ...head, variables }),
    resource: `plugin:${head.id}`,
    async probe(ports, signal) {
      const facts: unknown = await look({ ...ports, variables: variablesOf(variables, ports) }, signal)
      const leaks = leaksOf(JSON.stringify(facts) ?? '', ports.ctx)
      if (leaks.length > 0) throw new ProbeStop('PLUGIN_LEAK', `the value of ${leaks.join(', ')} is in its facts`)
      return facts as Awaited<ReturnType<NonNullable<Check['probe']>>> // held to the shape before it is judged
    },
    judge(facts, ports) {
      const value: unknown = judge!(facts, ports)
      return readResult(value) ?? { status: 'error', code: 'NO_ANSWER', observed: 'its judge returned no result' }
    },
  }
}

/** Those that are set in the environment that is judged. */
export function variablesOf(names: readonly string[], { ctx }: Pick<CheckPorts, 'ctx'>): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const text = ctx.resolution.given.get(name)?.text
      return text === undefined ? [] : [[name, text]]
    }),
  )
}

/** For a process that looks. Throws ProbeStop where the file is not what it was when the run began. */
export async function loadModuleCheck(plugin: ModulePlugin, id: string): Promise<Check> {
  try {
    const check = (await loadModule(plugin)).find((one) => one.id === id)
    if (check !== undefined) return check
  } catch (error) {
    throw new ProbeStop('PLUGIN_CHANGED', describeFault(error), 'load')
  }
  throw new ProbeStop('PLUGIN_CHANGED', `it has no check ${id}`, 'load')
}
