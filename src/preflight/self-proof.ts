// Every check proven able to fail: it is judged in worlds where it has to pass, in worlds where it has to fail with a
// code and a class, with its probe cut off, and in worlds whose oddity is none of its business.
import { digestOf } from '../base/canonical-json.ts'
import type { Finding } from '../rules/rule.ts'
import type { Answer, Check, CheckResult, FailingWorld, JudgePorts, World } from './check.ts'
import { portsOfWorld } from './healthy-world.ts'
import { judgeAnswer } from './judge.ts'
import { catalogueDigest } from './plan.ts'

export interface Proof {
  readonly id: string
  /** Worlds in which it failed as it has to. */
  readonly kills: readonly { readonly world: string; readonly code: string }[]
  /** Worlds it got wrong, in words; empty when it is proven. */
  readonly faults: readonly string[]
}

export interface Ledger {
  /** Of the catalogue that was proven. */
  readonly catalogue: string
  readonly proofs: readonly Proof[]
  readonly kills: number
  readonly faults: number
  readonly digest: string
}

/** Roll-ups by their names alone; selftest.ts proves them with the engine. */
export function proveCatalogue(catalogue: readonly Check[]): Ledger {
  return ledgerOf(
    catalogue,
    catalogue.map((check) => proveCheck(check)),
  )
}

export function ledgerOf(catalogue: readonly Check[], unordered: readonly Proof[]): Ledger {
  const proofs = [...unordered].sort((a, b) => (a.id < b.id ? -1 : 1))
  return {
    catalogue: catalogueDigest(catalogue),
    proofs,
    kills: proofs.reduce((sum, { kills }) => sum + kills.length, 0),
    faults: proofs.reduce((sum, { faults }) => sum + faults.length, 0),
    digest: digestOf(proofs),
  }
}

/** `worlds` stand in for the check's own: those of the original, when it is a mutant that is tried. */
export function proveCheck(check: Check, worlds: Check['worlds'] = check.worlds): Proof {
  if (check.isRollUp === true) return { id: check.id, kills: [], faults: rollUpFaults(check) }
  const kills: { world: string; code: string }[] = []
  const faults: string[] = []
  for (const world of [...worlds.passes, ...worlds.ignores]) {
    const result = judgeIn(check, world)
    if (result.status !== 'pass') faults.push(`${world.name}: ${describe(result)} instead of pass`)
  }
  for (const world of worlds.fails) {
    const { status = 'fail', code, class: fault = check.class, findings } = world.expect
    const result = judgeIn(check, world)
    if (isAsExpected(result, world.expect, check)) kills.push({ world: world.name, code })
    else {
      const wanted = `${status} ${findings?.join(', ') ?? code} (${fault})`
      faults.push(`${world.name}: ${describe(result, check)} instead of ${wanted}`)
    }
  }
  for (const world of worlds.skips ?? []) {
    if (check.appliesWhen.test(portsOfWorld(world)).holds) faults.push(`${world.name}: it applies`)
  }
  faults.push(...blindFaults(check, worlds.passes[0]))
  if (worlds.passes.length === 0) faults.push('no world in which it passes')
  if (kills.length === 0) faults.push('no world in which it fails')
  if (worlds.ignores.length === 0) faults.push('no world whose oddity it ignores')
  return { id: check.id, kills, faults }
}

function isAsExpected(result: CheckResult, expect: FailingWorld['expect'], check: Check): boolean {
  const { status = 'fail', code, class: fault = check.class, findings } = expect
  if (result.status !== status || (result.class ?? check.class) !== fault) return false
  if (result.status === 'error') return result.code === code
  if (!result.findings.some((finding) => finding.code === code)) return false
  return findings === undefined || findings.join() === result.findings.map(nameOf).join()
}

const nameOf = ({ variable, code }: Finding): string => `${variable} ${code}`

function judgeIn(check: Check, world: World): CheckResult {
  const ports = portsOfWorld(world)
  const { holds, because } = check.appliesWhen.test(ports)
  if (!holds) return { status: 'error', code: 'NOT_APPLICABLE', observed: because }
  return judgeAnswer(check, answerOf(world), ports)
}

const answerOf = ({ stopped, facts }: World): Answer => (stopped === undefined ? { facts: facts ?? {} } : { stopped })

/** Without its eyes a check has no answer. */
function blindFaults(check: Check, world: World | undefined): string[] {
  const ports = portsOfWorld(world ?? { name: 'healthy' })
  const blindings: [string, CheckResult][] =
    check.probe === undefined
      ? [['without ports', judgeAnswer(check, { facts: {} }, blindPorts(ports))]]
      : [
          ['with its probe cut off', judgeAnswer(check, { stopped: { code: 'DEADLINE', observed: '' } }, ports)],
          ['with no facts', judgeAnswer(check, { facts: {} }, ports)],
        ]
  return blindings
    .filter(([, { status }]) => status !== 'error')
    .map(([how, result]) => `${how}: ${describe(result)} instead of error`)
}

function blindPorts(ports: JudgePorts): JudgePorts {
  const blind = new Proxy(ports.ctx, {
    get() {
      throw new Error('blinded')
    },
  })
  return { ...ports, ctx: blind }
}

/** A roll-up has nothing of its own to get wrong, only names to forget. */
function rollUpFaults(check: Check): string[] {
  return [
    ...(check.requires.length === 0 ? ['it requires nothing'] : []),
    ...(judgeAnswer(check, { facts: {} }, portsOfWorld({ name: 'healthy' })).status === 'pass'
      ? []
      : ['it does not pass']),
  ]
}

function describe(result: CheckResult, check?: Check): string {
  if (result.status === 'pass') return 'pass'
  const codes = result.status === 'fail' ? result.findings.map(nameOf).join(', ') : result.code
  const words = result.status === 'error' ? `: ${result.observed}` : ''
  return `${result.status} ${codes}${check === undefined ? '' : ` (${result.class ?? check.class})`}${words}`
}
