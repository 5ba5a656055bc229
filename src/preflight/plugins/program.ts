// Plug-ins that are executables, `arqon-check-<name>`: one JSON line in, one JSON line out. Each call is a process of its
// own, in a group of its own, killed with all it has started when its time is over.
import { spawn } from 'node:child_process'
import { basename, delimiter, dirname } from 'node:path'
import { canonicalJson } from '../../base/canonical-json.ts'
import { systemClock } from '../../base/clock.ts'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { describeFault } from '../build-report.ts'
import type { Check, CheckResult, Stopped } from '../check.ts'
import { misfit } from '../facts.ts'
import type { CommandSpool } from '../incident/commands.ts'
import { ProbeStop } from '../stops.ts'
import { contentOf } from './content.ts'
import { effectsOf, invalid, readHead, readResult } from './form.ts'
import { leaksOf } from './leaks.ts'
import { variablesOf } from './module-file.ts'

export const programForm = /^arqon-check-[a-z0-9][a-z0-9-]*$/
const maxOutputBytes = 1024 * 1024
const describeMs = 5_000
const judgeMs = 2_000
const codeForm = /^[A-Z][A-Z0-9_]{0,63}$/

interface Program {
  readonly path: string
  readonly sha256: string
  readonly spool?: CommandSpool | undefined
}

/** The check of a program, unproven. Throws CONFIG_INVALID (PLUGIN_INVALID). */
export async function loadProgram(program: Program): Promise<Check> {
  const { path } = program
  const name = basename(path)
  if (!programForm.test(name)) throw invalid(path, ['a program is called arqon-check-<name>'])
  contentOf(path, program.sha256)
  const described = await call(program, 'describe', undefined, AbortSignal.timeout(describeMs))
  if ('stopped' in described)
    throw invalid(path, [`describe: ${described.stopped.code}, ${described.stopped.observed}`])
  const { variables, ...head } = readHead(described.line, path)
  const judged = new Map<string, CheckResult>()
  return {
    ...head,
    effects: effectsOf({ ...head, variables }, name),
    async probe(ports, signal) {
      const { deadlineMs } = head
      const input = { env: variablesOf(variables, ports), runId: ports.runId, deadlineMs }
      const answer = await call(program, 'run', input, signal)
      if ('stopped' in answer) throw stopOf(answer.stopped)
      const leaks = leaksOf(JSON.stringify(answer.line), ports.ctx)
      if (leaks.length > 0) throw new ProbeStop('PLUGIN_LEAK', `the value of ${leaks.join(', ')} is in its answer`)
      return factsOf(answer.line)
    },
    judge: (facts) =>
      judged.get(canonicalJson(facts)) ?? {
        status: 'error',
        code: 'PLUGIN_SILENT',
        observed: 'its judge was not asked',
      },
    async consult(facts) {
      const key = canonicalJson(facts)
      if (judged.has(key) || misfit(facts, head.shape) !== undefined) return
      judged.set(key, await judgeWith(program, facts))
    },
  }
}

const stopOf = ({ code, observed, step }: Stopped): ProbeStop => new ProbeStop(code, observed, step)

function factsOf(line: JsonObject): JsonObject {
  const { type, facts, code, observed } = line
  if (type === 'facts' && isJsonObject(facts)) return facts
  if (type === 'stop' && typeof code === 'string' && codeForm.test(code) && typeof observed === 'string') {
    throw new ProbeStop(code, observed, 'run')
  }
  throw new ProbeStop('PLUGIN_OUTPUT', 'its line is neither {type: facts, facts} nor {type: stop, code, observed}')
}

/** The judge is given facts and nothing else: what was recorded can be judged again anywhere. */
async function judgeWith(program: Program, facts: JsonObject): Promise<CheckResult> {
  const answer = await call(program, 'judge', { facts }, AbortSignal.timeout(judgeMs))
  if ('stopped' in answer) {
    const { code, observed } = answer.stopped
    return { status: 'error', code, observed: `judge: ${observed}`, class: 'regression' }
  }
  const { type, ...line } = answer.line
  const result = type === 'result' ? readResult(line) : undefined
  const observed = 'judge: its line is no result'
  return result ?? { status: 'error', code: 'PLUGIN_OUTPUT', observed, class: 'regression' }
}

type Called = { readonly line: JsonObject } | { readonly stopped: Stopped }

/** Nothing of our own environment: a program knows what it was given on standard input. Never rejects. */
async function call(
  { path, sha256, spool }: Program,
  command: 'describe' | 'run' | 'judge',
  input: object | undefined,
  signal: AbortSignal,
): Promise<Called> {
  const stopped = (code: string, observed: string): Called => ({ stopped: { code, observed, step: command } })
  try {
    contentOf(path, sha256)
  } catch (error) {
    return stopped('PLUGIN_CHANGED', describeFault(error))
  }
  const argv = [path, command]
  const startedMs = systemClock.monotonic()
  const recorded = spool?.begin({ id: basename(path), argv, cwd: dirname(path) })
  return await new Promise((resolve) => {
    const child = spawn(path, [command], {
      cwd: dirname(path),
      env: {
        PATH: [dirname(process.execPath), '/usr/local/bin', '/usr/bin', '/bin'].join(delimiter),
        TZ: 'UTC',
        LC_ALL: 'C',
      },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true, // a group of its own
    })
    const out: Buffer[] = []
    let size = 0
    let failure: Called | undefined
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // The whole group is gone already.
      }
    }
    const onLate = (): void => {
      failure ??= stopped('PLUGIN_LATE', 'it did not end in time')
      kill()
    }
    signal.addEventListener('abort', onLate, { once: true })
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxOutputBytes) {
        out.push(chunk)
        recorded?.write('stdout', chunk)
        return
      }
      failure ??= stopped('PLUGIN_TOO_LOUD', `more than ${maxOutputBytes} bytes on standard output`)
      kill()
    })
    let errorSize = 0
    child.stderr.on('data', (chunk: Buffer) => {
      errorSize += chunk.length
      if (errorSize <= maxOutputBytes) recorded?.write('stderr', chunk)
    })
    child.stdin.on('error', () => undefined) // it need not read
    child.stdin.end(input === undefined ? '' : `${JSON.stringify(input)}\n`)
    child.on('error', (error) => {
      failure ??= stopped('PLUGIN_EXIT', describeFault(error))
    })
    child.on('exit', kill) // whatever it has left behind
    child.on('close', (exit, killedBy) => {
      signal.removeEventListener('abort', onLate)
      recorded?.end({ exit, signal: killedBy, ms: Math.round(systemClock.monotonic() - startedMs) })
      if (failure !== undefined) return resolve(failure)
      if (exit !== 0) return resolve(stopped('PLUGIN_EXIT', `it ended with ${exit ?? killedBy ?? 'no code'}`))
      resolve(lineOf(Buffer.concat(out), stopped))
    })
  })
}

/** Exactly one line, a JSON object; anything else is no answer. */
function lineOf(bytes: Buffer, stopped: (code: string, observed: string) => Called): Called {
  let lines: unknown[]
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    lines = text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line): unknown => JSON.parse(line))
  } catch {
    return stopped('PLUGIN_OUTPUT', 'standard output holds something that is no JSON line')
  }
  const [line] = lines
  if (line === undefined) return stopped('PLUGIN_SILENT', 'nothing on standard output')
  if (!lines.every(isJsonObject)) return stopped('PLUGIN_OUTPUT', 'a line that is no JSON object')
  if (lines.length > 1) return stopped('PLUGIN_ANSWERS', `${lines.length} lines instead of one`)
  return { line: line as JsonObject }
}
