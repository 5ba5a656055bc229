// A telemetry client for tests: frames in order, waits with deadlines.
import { type ClientOptions, WebSocket } from 'ws'

export interface Watcher {
  readonly ws: WebSocket
  /** All frames so far. */
  readonly frames: Record<string, unknown>[]
  /** The next frame not yet taken; rejects after `ms`. */
  next(ms?: number): Promise<Record<string, unknown>>
  send(body: unknown): void
  readonly closed: Promise<{ code: number; reason: string }>
}

/** Resolves once open; rejects with the status and body of a refused upgrade. */
export function watch(url: string, options: ClientOptions = {}): Promise<Watcher> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, options)
    const frames: Record<string, unknown>[] = []
    let taken = 0
    let wake = (): void => {}
    ws.on('message', (data) => {
      frames.push(JSON.parse((data as Buffer).toString()) as Record<string, unknown>)
      wake()
    })
    const closed = new Promise<{ code: number; reason: string }>((done) =>
      ws.once('close', (code, reason) => {
        done({ code, reason: reason.toString() })
        wake()
      }),
    )
    ws.on('error', reject)
    ws.on('unexpected-response', (_request, response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      response.on('end', () =>
        reject(
          Object.assign(new Error(`refused: ${response.statusCode}`), {
            status: response.statusCode,
            headers: response.headers,
            body: JSON.parse(text) as unknown,
          }),
        ),
      )
    })
    async function next(ms = 5_000): Promise<Record<string, unknown>> {
      const deadline = Date.now() + ms
      while (frames.length <= taken) {
        const left = deadline - Date.now()
        if (left <= 0 || ws.readyState === ws.CLOSED)
          throw new Error(`no frame came; so far ${JSON.stringify(frames.slice(-3))}`)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, left)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
      return frames[taken++]!
    }
    ws.once('open', () =>
      resolve({
        ws,
        frames,
        next,
        closed,
        send: (body) => ws.send(typeof body === 'string' ? body : JSON.stringify(body)),
      }),
    )
  })
}
