// What became of the certificate that a program started under, in its metrics, its health and /preflight. Looked at again
// twice a minute, and when somebody asks; nothing that is found ends a program: drift is for people, and for the next
// start.
import type { Clock } from '../base/clock.ts'
import type { Closers } from '../base/closers.ts'
import type { JsonObject } from '../base/json.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { buildOf, stampOfBuild } from '../certificate/build.ts'
import { certificateDigest } from '../certificate/certificate.ts'
import { fingerprintAt } from '../certificate/environment.ts'
import { judgeStart, type Mismatch } from '../certificate/judge-start.ts'
import { startFactsOf } from '../certificate/start.ts'
import type { Resolution } from '../config/resolution.ts'
import type { ComponentReport, Health } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { CertificateView } from '../transport/http-preflight.ts'
import type { HttpViews } from '../transport/http-routes.ts'
import type { Standing } from './certified-start.ts'

/**
 * `none`: no certificate is asked for, or the start went without. `drifted`: the next start would be refused, be it that
 * the file, the configuration or the environment is another. `violated`: a waiver that the verdict rests on has expired
 * or is gone.
 */
export type CertificateState = 'valid' | 'drifted' | 'violated' | 'none'
const states: readonly CertificateState[] = ['valid', 'drifted', 'violated', 'none']

const everyMs = 30_000
/** How old what is shown to who asks may be. */
const freshMs = 250

export interface CertificateWatch {
  /** Looks again now. */
  look(): Promise<void>
  readonly state: CertificateState
  /** Undefined where no certificate is asked for. */
  view(): Promise<CertificateView | undefined>
  close(): void
}

/** A program's own registry and health; `undefined` where nothing was judged, as in tests that start parts. */
export type WatchCertificate = (ports: { readonly metrics: Metrics; readonly health: Health }) => CertificateWatch

/** Where there is one, until the program closes. Returns what its HTTP port shows. */
export function startCertificateWatch(
  watch: WatchCertificate | undefined,
  { closers, ...ports }: Parameters<WatchCertificate>[0] & { readonly closers: Closers },
): Pick<HttpViews, 'certificate'> {
  const started = watch?.(ports)
  if (started === undefined) return {}
  closers.push('certificate', () => started.close())
  return { certificate: () => started.view() }
}

export interface CertificateWatchPorts {
  readonly clock: Clock
  readonly logger: Logger
  /** Where the program is; default: this one. */
  readonly root?: string
}

/** `resolveAgain`: what a start now would be configured by; the file that holds it may have changed. */
export function certificateWatch(
  standing: Standing,
  resolveAgain: () => Resolution,
  { clock, logger, root }: CertificateWatchPorts,
): WatchCertificate {
  return ({ metrics, health }) => {
    let state: CertificateState = standing.kind === 'certified' ? 'valid' : 'none'
    let mismatches: readonly Mismatch[] = []
    metrics.gaugesFrom('arqonbus_preflight_state', 'What became of the GO certificate; 1 for its state', 'state', () =>
      Object.fromEntries(states.map((name) => [name, name === state ? 1 : 0])),
    )
    metrics.gauge('arqonbus_preflight_break_glass', 'Started without a certificate by a break-glass? 1 or 0', () =>
      standing.kind === 'break-glass' ? 1 : 0,
    )
    const report = (component: Omit<ComponentReport, 'name'>): void =>
      health.report({ name: 'certificate', ...component })
    if (standing.kind === 'break-glass') {
      const { by, until, reason } = standing.breakGlass
      report({ state: 'degraded', detail: `break-glass, signed by ${by} until ${until}: ${reason}` })
    }
    if (standing.kind !== 'certified') {
      return {
        look: () => Promise.resolve(),
        state,
        view: () => Promise.resolve(viewOfOther(standing)),
        close: () => undefined,
      }
    }

    const { certificate, own, row } = standing
    metrics.gauge(
      'arqonbus_preflight_certificate_expiry_timestamp_seconds',
      'Until when the certificate could be activated; what was activated goes on',
      () => Date.parse(certificate.activateBy) / 1_000,
    )
    metrics.gaugesFrom(
      'arqonbus_preflight_waiver_expiry_timestamp_seconds',
      'When each waiver ends that the certificate rests on',
      'id',
      () => Object.fromEntries(certificate.waivers.map(({ id, expires }) => [id, Date.parse(expires) / 1_000])),
    )
    metrics.gaugesFrom('arqonbus_preflight_mismatches', 'Why the next start would be refused, by code', 'code', () =>
      countsOf(mismatches),
    )

    let { build } = own
    let stamp = stampOfBuild(root)
    stamp.catch(() => undefined) // said at the next look

    /** Files replaced beneath it are what the next start would run. They are read only when one was touched. */
    async function lookAtBuild(): Promise<void> {
      try {
        const seen = await stampOfBuild(root)
        if (seen === (await stamp)) return
        build = buildOf(root)
        stamp = Promise.resolve(seen)
      } catch (error) {
        logger.error('preflight.watch_failed', describeError(error))
      }
    }

    async function lookOnce(): Promise<void> {
      try {
        const now = resolveAgain()
        const facts = await startFactsOf(now, { build, environment: fingerprintAt(now) }, { now: clock.now() })
        mismatches = judgeStart({ ...facts, isActivated: facts.isActivated || row.isThere })
        const before = state
        state = mismatches.length === 0 ? 'valid' : mismatches.some(isViolation) ? 'violated' : 'drifted'
        const detail = mismatches.map(({ code, found }) => `${code}: ${found}`).join('; ')
        report(state === 'valid' ? { state: 'up' } : { state: 'degraded', detail })
        if (state !== before) logger.warn('preflight.state', { state, before, detail })
      } catch (error) {
        logger.error('preflight.watch_failed', describeError(error))
      }
      lookedAtMs = clock.monotonic()
    }

    let lookedAtMs = clock.monotonic()
    let looking: Promise<void> | undefined
    const lookWith = (before: () => Promise<void>): Promise<void> =>
      (looking ??= before()
        .then(lookOnce)
        .finally(() => {
          looking = undefined
        }))
    const look = (): Promise<void> => lookWith(lookAtBuild)

    report({ state: 'up' })
    const timer = setInterval(() => void look(), everyMs)
    timer.unref()
    return {
      look,
      get state() {
        return state
      },
      async view() {
        if (clock.monotonic() - lookedAtMs >= freshMs) await lookWith(() => Promise.resolve())
        const { commit, report: judged, issued, activateBy, environment } = certificate
        const details: JsonObject = {
          mismatches: mismatches.map(({ code, found, fix }) => ({ code, found, fix })),
          certificate: certificateDigest(certificate),
          report: judged,
          commit,
          fingerprint: environment.fingerprint,
          issued,
          activateBy,
          waivers: certificate.waivers.map(({ id, check, expires }) => ({ id, check, expires })),
        }
        return { state, details }
      },
      close: () => clearInterval(timer),
    }
  }
}

function viewOfOther(standing: Exclude<Standing, { kind: 'certified' }>): CertificateView | undefined {
  if (standing.kind !== 'break-glass') return undefined
  const { by, until, reason } = standing.breakGlass
  return { state: 'none', details: { breakGlass: { by, until, reason } } }
}

const isViolation = ({ code }: Mismatch): boolean => code === 'WAIVER_EXPIRED' || code === 'WAIVER_CHANGED'

function countsOf(mismatches: readonly Mismatch[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { code } of mismatches) counts[code] = (counts[code] ?? 0) + 1
  return counts
}
