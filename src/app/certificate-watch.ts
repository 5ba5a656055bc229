// What became of the certificate that a program started under, in its metrics and health. Looked at again every minute;
// nothing that is found ends a program: drift is for people, and for the next start.
import type { Clock } from '../base/clock.ts'
import type { Closers } from '../base/closers.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { judgeStart } from '../certificate/judge-start.ts'
import { startFactsOf } from '../certificate/start.ts'
import type { Resolution } from '../config/resolution.ts'
import type { ComponentReport, Health } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Standing } from './certified-start.ts'

/**
 * `none`: no certificate is asked for, or the start went without. `drifted`: the next start would be refused, or the
 * file is not the one of the start. `violated`: a waiver that the verdict rests on has expired or is gone.
 */
export type CertificateState = 'valid' | 'drifted' | 'violated' | 'none'
const states: readonly CertificateState[] = ['valid', 'drifted', 'violated', 'none']

const everyMs = 60_000

export interface CertificateWatch {
  /** Looks again now. */
  look(): Promise<void>
  readonly state: CertificateState
  close(): void
}

/** A program's own registry and health; `undefined` where nothing was judged, as in tests that start parts. */
export type WatchCertificate = (ports: { readonly metrics: Metrics; readonly health: Health }) => CertificateWatch

/** Where there is one, until the program closes. */
export function startCertificateWatch(
  watch: WatchCertificate | undefined,
  { closers, ...ports }: Parameters<WatchCertificate>[0] & { readonly closers: Closers },
): void {
  const started = watch?.(ports)
  if (started !== undefined) closers.push('certificate', () => started.close())
}

export function certificateWatch(
  standing: Standing,
  resolution: Resolution,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): WatchCertificate {
  return ({ metrics, health }) => {
    let state: CertificateState = standing.kind === 'certified' ? 'valid' : 'none'
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
    if (standing.kind !== 'certified') return { look: () => Promise.resolve(), state, close: () => undefined }

    const { certificate, own } = standing
    metrics.gauge(
      'arqonbus_preflight_certificate_expiry_timestamp_seconds',
      'Until when the certificate could be activated; what was activated goes on',
      () => Date.parse(certificate.activateBy) / 1_000,
    )

    async function look(): Promise<void> {
      try {
        const facts = await startFactsOf(resolution, own, { now: clock.now() })
        // It runs: what bounds a first start alone is no drift.
        const mismatches = judgeStart({ ...facts, isActivated: true })
        const before = state
        state = mismatches.length === 0 ? 'valid' : isViolated(mismatches) ? 'violated' : 'drifted'
        const detail = mismatches.map(({ code, found }) => `${code}: ${found}`).join('; ')
        report(state === 'valid' ? { state: 'up' } : { state: 'degraded', detail })
        if (state !== before) logger.warn('preflight.state', { state, before, detail })
      } catch (error) {
        logger.error('preflight.watch_failed', describeError(error))
      }
    }

    report({ state: 'up' })
    const timer = setInterval(() => void look(), everyMs)
    timer.unref()
    return {
      look,
      get state() {
        return state
      },
      close: () => clearInterval(timer),
    }
  }
}

const isViolated = (mismatches: ReturnType<typeof judgeStart>): boolean =>
  mismatches.some(({ code }) => code === 'WAIVER_EXPIRED' || code === 'WAIVER_CHANGED')
