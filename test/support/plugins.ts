// Plug-ins as files in a folder of their own, and the policy that lists them.
import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import type { Report } from '../../src/preflight/report.ts'
import type { PreflightInputs } from '../../src/preflight/inputs.ts'

export const sha256Of = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

/** Fields over those of a good check with the id `x.acme.<name>`. */
export type HeadFields = Readonly<Record<string, unknown>>

export const headOf = (name: string, fields: HeadFields = {}): Record<string, unknown> => ({
  id: `x.acme.${name}`,
  title: 'The ledger is young',
  proves: 'It is.',
  evidence: 'Its age.',
  fix: 'Renew it.',
  phase: 'deps',
  severity: 'high',
  class: 'dependency',
  deadlineMs: 3_000,
  effects: [{ kind: 'file', what: 'the ledger' }],
  shape: { young: 'boolean', note: 'string?' },
  worlds: {
    passes: [{ name: 'young', facts: { young: true } }],
    fails: [{ name: 'old', facts: { young: false }, expect: { code: 'OLD' } }],
    ignores: [{ name: 'with a note', facts: { young: true, note: 'n' } }],
  },
  ...fields,
})

export class PluginFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'arqonbus-plugins-'))
  readonly #listed: string[] = []

  /** Writes a file, and lists it unless told otherwise. */
  add(name: string, text: string, { digest, isListed = true }: { digest?: string; isListed?: boolean } = {}): string {
    const path = join(this.path, name)
    writeFileSync(path, text)
    const kind = extname(name) === '' ? 'program' : 'module'
    if (kind === 'program') chmodSync(path, 0o755)
    if (isListed) this.#listed.push(`  - { path: ${name}, sha256: ${digest ?? sha256Of(path)}, kind: ${kind} }`)
    return path
  }

  /** `probe` and `judge` are source texts of functions. */
  module(
    name: string,
    { fields = {}, probe, judge, top = '' }: { fields?: HeadFields; probe?: string; judge?: string; top?: string } = {},
  ): string {
    const head = JSON.stringify(headOf(name, fields))
    const text = `import { defineCheck, failed, passed, ProbeStop } from 'arqonbus/preflight'
${top}
export default defineCheck({
  ...(${head} as any),
  probe: ${probe ?? 'async () => ({ young: true })'},
  judge: ${judge ?? "({ young }: any) => young ? passed() : failed('OLD', 'LEDGER', 'old', 'renew it')"},
})
void [failed, passed, ProbeStop]
`
    return this.add(`${name}.ts`, text)
  }

  /** `run` and `judge` are shell commands. */
  program(
    name: string,
    { fields = {}, run, judge }: { fields?: HeadFields; run?: string; judge?: string } = {},
    options: { isListed?: boolean } = {},
  ): string {
    const good = `if grep -q '"young":true'; then echo '{"type":"result","status":"pass"}'; else echo '${oldLine}'; fi`
    const text = `#!/bin/sh
case "$1" in
describe) cat <<'HEAD'
${JSON.stringify(headOf(name, fields))}
HEAD
;;
run) ${run ?? `echo '${youngLine}'`} ;;
judge) ${judge ?? good} ;;
esac
`
    return this.add(`arqon-check-${name}`, text, options)
  }

  /** The policy with all that is listed by now. */
  policy(order: 'as-listed' | 'reversed' = 'as-listed'): string {
    const path = join(this.path, `policy-${order}.yaml`)
    const lines = order === 'reversed' ? [...this.#listed].reverse() : this.#listed
    writeFileSync(path, ['schema: arqonbus/preflight-policy/1', 'plugins:', ...lines, ''].join('\n'))
    return path
  }

  remove(): void {
    rmSync(this.path, { recursive: true })
  }
}

export const youngLine = '{"type":"facts","facts":{"young":true}}'
const oldLine =
  '{"type":"result","status":"fail","findings":[{"code":"OLD","variable":"LEDGER","found":"old","fix":"renew it"}]}'

/** A process that runs preflights, one at a time. */
export class PluginHost {
  readonly #process: ChildProcess
  readonly #ready: Promise<unknown>

  constructor() {
    this.#process = fork(new URL('./plugin-host.ts', import.meta.url), [], { execArgv: [] })
    this.#ready = once(this.#process, 'message')
  }

  async run(inputs: PreflightInputs): Promise<Report> {
    await this.#ready
    const answer = once(this.#process, 'message')
    this.#process.send(inputs)
    const [report] = (await answer) as [Report]
    return report
  }

  async end(): Promise<void> {
    const closed = once(this.#process, 'close')
    this.#process.kill('SIGKILL')
    await closed
  }
}
