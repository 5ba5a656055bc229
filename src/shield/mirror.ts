// Copies of accepted frames for shadow consumers (docs/shield.md). A frame is copied only after the bus has acknowledged
// it; copies wait in a bounded queue that forgets the oldest, lose what is marked as secret, and leave over a link of their
// own. Nothing that happens here reaches a client.
import type { Identity } from '../auth/identity.ts'
import { shadowSubject } from '../envelope/subjects.ts'
import { isBusError } from '../base/errors.ts'
import { matches, parsePattern } from '../base/subject-pattern.ts'
import { shareOf } from '../base/trace-context.ts'
import type { Link, LinkHeaders } from '../link/link.ts'
import type { FrameFacts } from './validate.ts'
import { subjectsOf } from './frame-facts.ts'
import type { ShieldMetrics } from './metrics.ts'
import type { Redact } from './redact.ts'

export interface Mirror {
  /** Is the frame one to be copied, once it was acknowledged? The same for every frame of one trace and subject. */
  takes(tenant: string, scan: FrameFacts, traceId: string): boolean
  /** Never throws, never waits; keeps the array. */
  offer(identity: Identity, frame: Uint8Array, headers: LinkHeaders): void
  readonly queued: number
  close(): void
}

export interface MirrorRule {
  readonly pattern: readonly string[]
  readonly share: number
}

export const shadowHeader = 'x-arqon-shadow'
/** How many values were taken out of the copy; absent where it is the bytes that came. */
export const redactedHeader = 'x-arqon-redacted'
const maxQueued = 1_000
const maxQueuedBytes = 16 * 1024 * 1024
const perTurn = 100
/** Looked through for secrets in one turn of the event loop. */
const bytesPerTurn = 256 * 1024
const retryMs = 250

/** `<subject pattern>:<share>`, as configuration gives them. Throws VALIDATION_ERROR for a pattern that is none. */
export function parseMirrorRules(rules: readonly string[]): readonly MirrorRule[] {
  return rules.map((rule) => {
    const colon = rule.lastIndexOf(':')
    return { pattern: parsePattern(rule.slice(0, colon)), share: Number(rule.slice(colon + 1)) }
  })
}

interface Copy {
  readonly identity: Identity
  readonly frame: Uint8Array
  readonly headers: LinkHeaders
}

export function createMirror(ports: {
  readonly rules: readonly MirrorRule[]
  /** Undefined until it is there. */
  readonly link: () => Link | undefined
  readonly redact: Redact
  readonly metrics: ShieldMetrics
}): Mirror {
  const { rules, link, redact, metrics } = ports
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
    let bytes = 0
    for (let i = 0; i < perTurn && bytes < bytesPerTurn; i++) {
      const copy = queue[0]
      if (copy === undefined) return
      bytes += copy.frame.length
      try {
        count(send(open, copy))
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

  function send(open: Link, { identity, frame, headers }: Copy): 'sent' | 'withheld' {
    const redacted = redact(frame, identity)
    if (redacted === undefined) return 'withheld'
    const { bytes, fields } = redacted
    open.publish(shadowSubject(identity.tenant), bytes, {
      ...headers,
      ...(fields > 0 && { [redactedHeader]: String(fields) }),
    })
    if (fields > 0) metrics.count('shield_mirror_redacted_total')
    return 'sent'
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
    offer(identity, frame, headers) {
      queue.push({ identity, frame, headers: { ...headers, [shadowHeader]: 'true' } })
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
