// One bus on a link: a second one would answer the same gateways (design 7).
//
// A starting bus asks `ctl.bus.who`. Whoever answers was there before, and the start is refused; nobody listening means
// that nobody is there, which the message server knows at once of a process that ended, however it ended. Of those that
// start together the lowest id goes on. Running buses ask again, now and then and when they were cut off: of two, the
// one that was started later stays.
import type { Clock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { randomHex } from '../base/ids.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { encodeControl, parseControl } from '../envelope/edge-protocol.ts'
import type { Link, LinkMessage } from '../link/link.ts'

export interface Claim {
  close(): void
}

export interface ClaimPorts {
  readonly link: Link
  readonly clock: Clock
  readonly logger: Logger
  /** Called when another bus has taken this one's place, for instance while it was cut off: it has to end. */
  readonly onRival: () => void
  readonly timing?: Partial<ClaimTiming>
}

export interface ClaimTiming {
  /** For an answer of a bus that listens; asked twice. */
  readonly answerMs: number
  /** For those that start at the same moment. */
  readonly contestMs: number
  readonly recheckMs: number
}

const subject = 'ctl.bus.who'
const standardTiming: ClaimTiming = { answerMs: 1_500, contestMs: 500, recheckMs: 10_000 }

/** Rejects with START_REFUSED when another bus is there, or one that listens and does not answer. */
export async function claimLink(ports: ClaimPorts): Promise<Claim> {
  const { link, clock, logger } = ports
  const timing = { ...standardTiming, ...ports.timing }
  const own = randomHex(8)
  let servingSinceMs: number | undefined
  let isYielding = false

  async function ask(body: object, timeoutMs: number): Promise<'nobody' | 'silence' | 'a bus'> {
    try {
      await link.request(subject, encodeControl(body), { timeoutMs })
      return 'a bus'
    } catch (error) {
      if (isBusError(error, 'TARGET_NOT_FOUND')) return 'nobody'
      if (isBusError(error, 'LINK_TIMEOUT')) return 'silence'
      throw error
    }
  }

  /** Does the one who asks have to go? */
  function outranks(bus: unknown, sinceMs: unknown): boolean {
    const isLower = typeof bus !== 'string' || own < bus
    if (typeof sinceMs !== 'number') return servingSinceMs !== undefined || isLower
    if (servingSinceMs === undefined) return false
    return servingSinceMs > sinceMs || (servingSinceMs === sinceMs && isLower)
  }

  function answer({ data, respond }: LinkMessage): void {
    try {
      const { bus, servingSinceMs: sinceMs } = parseControl(data)
      if (bus === own) return
      if (outranks(bus, sinceMs)) respond?.(encodeControl({ bus: own }))
      // It hears nothing from us and goes on: our own question may have been asked before it listened.
      else if (servingSinceMs === undefined) isYielding = true
    } catch (error) {
      logger.warn('bus.bad_claim', describeError(error))
    }
  }

  let before = await ask({}, timing.answerMs)
  if (before === 'silence') before = await ask({}, timing.answerMs)
  if (before === 'silence') {
    throw refused(
      'BUS_SILENT',
      'A bus listens on this NATS server and does not answer. End it first; if its machine is gone, the server forgets it after its ping_interval.',
    )
  }
  if (before === 'a bus') throw rivalError()

  const subscription = link.subscribe(subject, answer)
  const stopState = link.onState((state) => {
    if (state === 'connected') void lookForRival()
  })
  let rechecking: NodeJS.Timeout | undefined
  const close = (): void => {
    clearInterval(rechecking)
    stopState()
    subscription.close()
  }

  async function lookForRival(): Promise<void> {
    if (link.state !== 'connected') return
    try {
      if ((await ask({ bus: own, servingSinceMs }, timing.answerMs)) !== 'a bus') return
      logger.error('bus.replaced', { reason: 'another bus was started after this one' })
      ports.onRival()
    } catch (error) {
      logger.warn('bus.claim_unanswered', describeError(error)) // the link is gone again: asked when it is back
    }
  }

  try {
    await link.flush()
    if ((await ask({ bus: own }, timing.contestMs)) === 'a bus' || isYielding) throw rivalError()
  } catch (error) {
    close()
    throw error
  }
  servingSinceMs = clock.now()
  rechecking = setInterval(() => void lookForRival(), timing.recheckMs)
  return { close }
}

function rivalError(): BusError {
  return refused(
    'BUS_PRESENT',
    'Another bus runs on this NATS server, and only one may. Stop it first, or give this one another server or account in NATS_URL.',
  )
}

function refused(reason: string, message: string): BusError {
  return new BusError('START_REFUSED', message, { reason })
}
