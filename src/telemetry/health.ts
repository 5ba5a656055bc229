// What the parts of the process say of themselves, and the one question that follows: may traffic come here?
// Ready needs the canary: a component that must have been reported up, and lately (design 6).
import { type Clock, toIsoTime } from '../base/clock.ts'

export type ComponentState = 'up' | 'degraded' | 'down'

export interface ComponentReport {
  readonly name: string
  /** `degraded` still serves; `down` does not, and makes the process not ready. */
  readonly state: ComponentState
  /** For operators: no secrets, no payloads. */
  readonly detail?: string
}

export interface ComponentHealth extends ComponentReport {
  /** When this state began (UTC). */
  readonly since: string
}

export interface Readiness {
  readonly ready: boolean
  readonly status: 'healthy' | 'degraded' | 'unhealthy'
  /** By name. */
  readonly components: readonly ComponentHealth[]
}

export interface Health {
  report(component: ComponentReport): void
  /** True while the process can answer at all. */
  live(): boolean
  ready(): Readiness
}

/** The component whose reports prove that messages are delivered, and how old the last one may be. */
export interface CanaryRule {
  readonly name: string
  readonly maxAgeMs: number
}

export const deliveryCanary: CanaryRule = { name: 'delivery', maxAgeMs: 10_000 }

interface Entry {
  report: ComponentReport
  sinceMs: number
  /** On the monotonic clock: a step of the wall clock must not make a canary old. */
  reportedAtMs: number
}

/** `canary: 'none'` for a process that delivers nothing itself. */
export function createHealth({
  clock,
  canary = deliveryCanary,
}: {
  clock: Clock
  canary?: CanaryRule | 'none'
}): Health {
  const entries = new Map<string, Entry>()
  const startedAtMs = clock.now()

  function judge({ report, reportedAtMs }: Entry): ComponentReport {
    if (canary === 'none' || report.name !== canary.name || report.state === 'down') return report
    const ageMs = clock.monotonic() - reportedAtMs
    if (ageMs <= canary.maxAgeMs) return report
    return { ...report, state: 'down', detail: `last seen ${Math.round(ageMs / 1_000)} s ago` }
  }

  return {
    report(component) {
      const before = entries.get(component.name)
      const sinceMs = before?.report.state === component.state ? before.sinceMs : clock.now()
      entries.set(component.name, { report: component, sinceMs, reportedAtMs: clock.monotonic() })
    },
    live: () => true,
    ready() {
      const components: ComponentHealth[] = [...entries.values()].map((entry) => ({
        ...judge(entry),
        since: toIsoTime(entry.sinceMs),
      }))
      if (canary !== 'none' && !entries.has(canary.name)) {
        components.push({ name: canary.name, state: 'down', detail: 'not yet seen', since: toIsoTime(startedAtMs) })
      }
      components.sort((a, b) => (a.name < b.name ? -1 : 1))
      const has = (state: ComponentState): boolean => components.some((component) => component.state === state)
      const status = has('down') ? 'unhealthy' : has('degraded') ? 'degraded' : 'healthy'
      return { ready: status !== 'unhealthy', status, components }
    },
  }
}
