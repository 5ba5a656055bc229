// The gate of a start as a whole: the start-up rules, and where a key is pinned a GO certificate of this build and
// environment. Nothing is opened, and nothing is used up, before both agree.
import { type Clock, systemClock, toIsoTime } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { type Activation, recordActivation } from '../certificate/activation.ts'
import { type BreakGlass, judgeBreakGlass, type StartedProgram, useBreakGlass } from '../certificate/break-glass.ts'
import { type Certificate, certificateDigest } from '../certificate/certificate.ts'
import { formatMismatches, type Mismatch } from '../certificate/judge-start.ts'
import { takePermit } from '../certificate/permit.ts'
import {
  exceptionsOf,
  hostsOf,
  isCertificateAsked,
  ownFactsOf,
  type OwnFacts,
  startFactsOf,
} from '../certificate/start.ts'
import type { Resolution } from '../config/resolution.ts'
import type { Excused } from '../rules/gate.ts'
import { fromDisk } from '../waivers/read-bytes.ts'
import { judgeSharedStart, sharedActivations, whyNotShared } from './shared-activations.ts'
import { describeExcused, requireSafeStart } from './start-gate.ts'

/** What a start rests on. */
export type Standing =
  /** No key is pinned here. */
  | { readonly kind: 'unpinned' }
  | {
      readonly kind: 'certified'
      readonly certificate: Certificate
      readonly own: OwnFacts
      /** Whether the row in Postgres is known to be there. */
      readonly row: { isThere: boolean }
    }
  | { readonly kind: 'break-glass'; readonly breakGlass: BreakGlass }
  /** A candidate of the preflight; `endsAt` in ms since the Unix epoch. */
  | { readonly kind: 'permit'; readonly endsAt: number }

export interface CertifiedStart {
  readonly standing: Standing
  /** For standard error: what is unusual about this start, and what excuses it. */
  readonly notes: readonly string[]
  /** To be called once the program serves; over after 2 s at most. */
  readonly begun: (ports: { readonly logger: Logger; readonly shutdown: () => void }) => Promise<void>
}

/** Throws START_REFUSED; its message is the whole block for standard error, without secrets. */
export async function requireCertifiedStart(
  program: StartedProgram,
  resolution: Resolution,
  clock: Pick<Clock, 'now'> = systemClock,
): Promise<CertifiedStart> {
  const rules = await rulesOf(program, resolution, clock)
  const trust = await standingOf(program, resolution, clock)
  const blocks = [
    ...('refusal' in rules ? [rules.refusal.message] : []),
    ...('refused' in trust ? [trust.refused] : []),
  ]
  if ('refusal' in rules || 'refused' in trust) {
    const findings = 'refusal' in rules ? rules.refusal.details['findings'] : 0
    throw new BusError('START_REFUSED', blocks.join('\n\n'), { findings: typeof findings === 'number' ? findings : 0 })
  }
  const { excused } = rules
  const { standing } = trust
  if (standing.kind === 'break-glass') await spend(program, standing.breakGlass, resolution)
  return {
    standing,
    notes: [...excused.map(describeExcused), ...notesOf(standing)],
    async begun({ logger, shutdown }) {
      if (standing.kind === 'certified') await activate(standing, resolution, clock, logger)
      if (standing.kind === 'break-glass') {
        const { by, until, reason } = standing.breakGlass
        logger.warn('preflight.break_glass', { by, until, reason })
      }
      if (standing.kind === 'permit') setTimeout(shutdown, Math.max(0, standing.endsAt - clock.now())).unref()
    },
  }
}

async function rulesOf(
  program: StartedProgram,
  resolution: Resolution,
  clock: Pick<Clock, 'now'>,
): Promise<{ readonly excused: readonly Excused[] } | { readonly refusal: BusError }> {
  if (program === 'projector') return { excused: [] } // its rules are those of its configuration
  try {
    return { excused: await requireSafeStart(program, resolution, clock) }
  } catch (error) {
    if (isBusError(error, 'START_REFUSED')) return { refusal: error }
    throw error
  }
}

async function standingOf(
  program: StartedProgram,
  resolution: Resolution,
  clock: Pick<Clock, 'now'>,
): Promise<{ readonly standing: Standing } | { readonly refused: string }> {
  const now = clock.now()
  const { preflightPermitFd } = resolution.values
  // Taken whether or not it is needed: it is for this start alone, and so is its bound.
  const permit =
    preflightPermitFd === undefined
      ? undefined
      : takePermit(preflightPermitFd, { now, hosts: hostsOf(program, resolution) })
  if (permit !== undefined && 'permit' in permit) return { standing: { kind: 'permit', endsAt: permit.endsAt } }
  if (permit === undefined && !isCertificateAsked(resolution)) return { standing: { kind: 'unpinned' } }
  if (permit !== undefined) return { refused: `${program}: start refused, the permit does not hold: ${permit.refused}` }

  const own = ownFactsOf(resolution)
  const facts = await startFactsOf(resolution, own, { now })
  const { mismatches, isActivated } = await judgeSharedStart(facts, sharedActivations(resolution))
  if (mismatches.length === 0 && 'certificate' in facts.found) {
    const row = { isThere: isActivated && !facts.isActivated }
    return { standing: { kind: 'certified', certificate: facts.found.certificate, own, row } }
  }
  const breakGlass = await breakGlassOf(program, resolution, now)
  if (breakGlass !== undefined && 'breakGlass' in breakGlass)
    return { standing: { kind: 'break-glass', ...breakGlass } }
  return { refused: describeRefusal(program, mismatches, breakGlass?.refused) }
}

function describeRefusal(
  program: StartedProgram,
  mismatches: readonly Mismatch[],
  refused: string | undefined,
): string {
  const block = formatMismatches(program, mismatches)
  return refused === undefined ? block : `${block}\n  BREAK_GLASS_REFUSED: ${refused}`
}

async function breakGlassOf(program: StartedProgram, resolution: Resolution, now: number) {
  const path = resolution.values.preflightBreakGlass
  if (path === undefined) return undefined
  const bytes = fromDisk(path, maxBreakGlassBytes)
  if (bytes === undefined) return { refused: 'the file that is named cannot be read' }
  if (resolution.sources.get('dataDir')?.kind === 'default') {
    return { refused: 'ARQONBUS_DATA_DIR is not set, and what is used once has to be written down' }
  }
  const { policy } = await exceptionsOf(resolution)
  if (policy === undefined) return { refused: 'the policy cannot be read' }
  return judgeBreakGlass(bytes, { program, policy, now })
}

const maxBreakGlassBytes = 16_384

/**
 * Throws START_REFUSED where it was used before, or where its use cannot be written down. First where all machines see
 * it: what Postgres does not take is not used up.
 */
async function spend(program: StartedProgram, breakGlass: BreakGlass, resolution: Resolution): Promise<void> {
  const refuse = (why: string): BusError =>
    new BusError('START_REFUSED', `${program}: start refused\n\n  BREAK_GLASS_REFUSED: ${why}`, { findings: 1 })
  let isFirst: boolean
  try {
    isFirst = (await sharedActivations(resolution)?.use(breakGlass)) ?? true
  } catch (error) {
    throw refuse(`its use cannot be written down in Postgres (${whyNotShared(error)})`)
  }
  try {
    isFirst = isFirst && useBreakGlass(resolution.values.dataDir, breakGlass)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    throw refuse(`its use cannot be written down in ARQONBUS_DATA_DIR (${code})`)
  }
  if (!isFirst) throw refuse(`${breakGlass.nonce} was used already; it is for one start`)
}

function notesOf(standing: Standing): string[] {
  if (standing.kind === 'permit') return ['started by a preflight, on loopback and for ten minutes at most']
  if (standing.kind !== 'break-glass') return []
  const { by, until, reason } = standing.breakGlass
  return [`BREAK-GLASS: started without a GO certificate, signed by ${by} until ${until}: ${reason}`]
}

/** In both places, so that this machine restarts without Postgres, and others start at any time with it. */
async function activate(
  { certificate, row }: Extract<Standing, { kind: 'certified' }>,
  resolution: Resolution,
  clock: Pick<Clock, 'now'>,
  logger: Logger,
): Promise<void> {
  const activation: Activation = {
    certificate: certificateDigest(certificate),
    artefact: certificate.build.artefact,
    fingerprint: certificate.environment.fingerprint,
    at: toIsoTime(clock.now()),
  }
  // It serves; but a start after the certificate has expired can be refused, so somebody has to know.
  try {
    recordActivation(resolution.values.dataDir, activation)
  } catch (error) {
    logger.error('preflight.activation_not_recorded', describeError(error))
  }
  try {
    const shared = sharedActivations(resolution)
    await shared?.record(activation)
    if (shared !== undefined) row.isThere = true
  } catch (error) {
    logger.error('preflight.activation_not_shared', { why: whyNotShared(error) })
  }
  logger.info('preflight.certified', { report: certificate.report, commit: certificate.commit })
}
