// Copies of accepted frames for shadow consumers (docs/shield.md). A frame is copied only after the bus has acknowledged
// it; copies wait in a bounded queue that forgets the oldest, and leave over a link of their own. Nothing that happens
// here reaches a client.
import { shadowSubject } from '../envelope/subjects.ts'
import { isBusError } from '../base/errors.ts'
import { matches, parsePattern } from '../base/subject-pattern.ts'
import { shareOf } from '../base/trace-context.ts'
import type { Link, LinkHeaders } from '../link/link.ts'
import type { FrameFacts } from './validate.ts'
import { subjectsOf } from './frame-facts.ts'
import type { ShieldMetrics } from './metrics.ts'

export interface Mirror {
  /** Is the frame one to be copied, once it was acknowledged? The same for every frame of one trace and subject. */
  takes(tenant: string, scan: FrameFacts, traceId: string): boolean
  /** Never throws, never waits; keeps the array. */
  offer(tenant: string, frame: Uint8Array, headers: LinkHeaders): void
  readonly queued: number
  close(): void
}

export interface MirrorRule {
  readonly pattern: readonly string[]
  readonly share: number
}

export const shadowHeader = 'x-arqon-shadow'
const maxQueued = 1_000
const maxQueuedBytes = 16 * 1024 * 1024
const perTurn = 100
const retryMs = 250

/** `<subject pattern>:<share>`, as configuration gives them. Throws VALIDATION_ERROR for a pattern that is none. */
export function parseMirrorRules(rules: readonly string[]): readonly MirrorRule[] {
  return rules.map((rule) => {
    const colon = rule.lastIndexOf(':')
    return { pattern: parsePattern(rule.slice(0, colon)), share: Number(rule.slice(colon + 1)) }
  })
}

interface Copy {
  readonly subject: string
  readonly frame: Uint8Array
  readonly headers: LinkHeaders
}

export function createMirror(ports: {
  readonly rules: readonly MirrorRule[]
  /** Undefined until it is there. */
  readonly link: () => Link | undefined
  readonly metrics: ShieldMetrics
}): Mirror {
  const { rules, link, metrics } = ports
  const queue: Copy[] = []
  let queuedBytes = 0
  let timer: NodeJS.Timeout | undefined
  let turn: NodeJS.Immediate | undefined
  const count = (outcome: string): void => metrics.count('shield_mirror_traffic_total', outcome)

  function take(): Copy | undefined {
    const copy = queue.shift()
    if (copy !== undefined) queuedBytes -= copy.frame.length
    return copy
  }

  function drain(): void {
    turn = undefined
    const open = link()
    if (open === undefined || open.state !== 'connected') {
      retryLater()
      return
    }
    for (let i = 0; i < perTurn; i++) {
      const copy = queue[0]
      if (copy === undefined) return
      try {
        open.publish(copy.subject, copy.frame, copy.headers)
        count('sent')
      } catch (error) {
        if (isBusError(error, 'LINK_UNAVAILABLE')) {
          retryLater()
          return
        }
        count('refused')
      }
      take()
    }
    schedule()
  }

  function schedule(): void {
    if (timer === undefined) turn ??= setImmediate(drain)
  }

  function retryLater(): void {
    timer ??= setTimeout(() => {
      timer = undefined
      drain()
    }, retryMs)
    timer.unref()
  }

  return {
    takes(tenant, scan, traceId) {
      const subjects = subjectsOf(tenant, scan)
      const rule = rules.find(({ pattern }) => subjects.some((subject) => matches(pattern, subject)))
      return rule !== undefined && shareOf(traceId) < rule.share
    },
    offer(tenant, frame, headers) {
      queue.push({ subject: shadowSubject(tenant), frame, headers: { ...headers, [shadowHeader]: 'true' } })
      queuedBytes += frame.length
      while (queue.length > maxQueued || queuedBytes > maxQueuedBytes) {
        take()
        count('dropped')
      }
      schedule()
    },
    get queued() {
      return queue.length
    },
    close() {
      clearTimeout(timer)
      if (turn !== undefined) clearImmediate(turn)
      queue.length = 0
    },
  }
}
