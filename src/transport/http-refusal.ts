// What a request gets instead of a WebSocket.

/** An HTTP answer instead of an upgrade. The body is JSON. */
export interface HttpRefusal {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
}
