// The port to other processes: subjects, bytes and headers, with the rules of core NATS, whichever adapter is behind it.
//
// What every adapter promises:
// - Delivery is at most once, in the order of publishes from one link to one subject; it happens on a later
//   event-loop turn, never inside `publish`.
// - Subjects are tokens of `A-Z a-z 0-9 - _ =` joined by dots; patterns may use `*` for one token and `>` for the
//   rest. Anything else throws VALIDATION_ERROR / BAD_SUBJECT: nothing can be injected.
// - A message above `maxPayload` bytes (data and headers) throws LIMIT_EXCEEDED. While disconnected, `publish` throws
//   LINK_UNAVAILABLE; it never queues without bound and never hangs.
// - A subscriber gets the bytes as they were; it must not keep or change the array after its callback returns
//   unless it copies them.

export type LinkHeaders = Readonly<Record<string, string>>

export interface LinkMessage {
  readonly subject: string
  readonly data: Uint8Array
  readonly headers: LinkHeaders
  /** Answers a `request`; absent on plain publishes. Does nothing while disconnected: the requester times out. */
  readonly respond?: (data: Uint8Array, headers?: LinkHeaders) => void
}

export interface LinkSubscription {
  /** No callback runs after this returns. */
  close(): void
}

export type LinkState = 'connected' | 'disconnected' | 'closed'

/** What an operator should know beside the state. */
export interface LinkReport {
  /** What does not work although the link is connected; names no subject. */
  readonly trouble: string | undefined
  readonly counts: Readonly<Record<string, number>>
}

export interface Link {
  readonly maxPayload: number
  readonly state: LinkState
  publish(subject: string, data: Uint8Array, headers?: LinkHeaders): void
  /** Rejects with TARGET_NOT_FOUND when nobody listens there, LINK_TIMEOUT when nobody answers in time. */
  request(
    subject: string,
    data: Uint8Array,
    options: { headers?: LinkHeaders; timeoutMs: number },
  ): Promise<LinkMessage>
  /** Members of one `queue` share the messages; without it every subscriber gets each. */
  subscribe(pattern: string, onMessage: (message: LinkMessage) => void, options?: { queue?: string }): LinkSubscription
  /**
   * Resolves when all that was published and subscribed before has reached the server.
   * Rejects with LINK_DENIED when the server refused one of those subscriptions.
   */
  flush(): Promise<void>
  /** Called at each change of `state`; returns a function that stops it. */
  onState(listener: (state: LinkState) => void): () => void
  /** Absent where nothing can go wrong unseen. */
  readonly report?: () => LinkReport
  close(): Promise<void>
}
