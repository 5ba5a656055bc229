// Is the server at the other end alive, and how much is on its way to it? Core NATS says neither by itself: a frozen
// server takes what is written until memory is full. Pings answer both: what was sent before one has arrived when
// its answer comes.
import type { NatsConnection } from '@nats-io/transport-node'

export interface Pulse {
  /** Counts bytes handed to the client. */
  sent(bytes: number): void
  /** Bytes sent that no answered ping follows yet. */
  readonly unconfirmed: number
  close(): void
}

export interface PulseTiming {
  readonly tickMs: number
  /** Ticks without any byte from the server while a ping is open, after which it counts as dead. */
  readonly silentTicks: number
}

/** Above this many bytes unconfirmed a ping is sent at once, not at the next tick. */
const eagerBytes = 1024 * 1024

export function startPulse(
  nc: NatsConnection,
  timing: PulseTiming,
  events: { onTick(): void; onSilent(): void },
): Pulse {
  let sent = 0
  let confirmed = 0
  let isAsking = false
  let silentTicks = 0
  let heardBytes = 0

  function ask(): void {
    if (isAsking) return
    isAsking = true
    const upTo = sent
    nc.flush().then(
      () => {
        isAsking = false
        confirmed = upTo
        if (sent - confirmed > eagerBytes) ask()
      },
      () => undefined, // the connection is gone, which its owner is told otherwise
    )
  }

  // Ticks are counted, not time: after a stall of this process one tick comes, and then the answers that waited.
  const timer = setInterval(() => {
    const { inBytes } = nc.stats()
    // A server busy sending is alive, however far behind its answer to the ping is.
    silentTicks = isAsking && inBytes === heardBytes ? silentTicks + 1 : 0
    heardBytes = inBytes
    if (silentTicks >= timing.silentTicks) events.onSilent()
    else {
      ask()
      events.onTick()
    }
  }, timing.tickMs)

  return {
    sent(bytes) {
      sent += bytes
      if (sent - confirmed > eagerBytes) ask()
    },
    get unconfirmed() {
      return sent - confirmed
    },
    close() {
      clearInterval(timer)
    },
  }
}
