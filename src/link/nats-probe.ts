// One connection to one NATS server for a look at it, spoken by hand: a line protocol over a socket. The client library
// hides what a probe is after (who refused, at which step, the server's greeting, errors that come later than the
// publish they are about), retries and follows the cluster by itself; this does none of that and never reconnects.
import { createConnection, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import { bareHost, type NatsServer } from './nats-dial.ts'

/** Why there is no answer: `code` is a system's, TLS' or one of AUTH_REFUSED, HUNG_UP, NO_ANSWER, NOT_THE_PROTOCOL … */
export class NatsProbeError extends Error {
  readonly code: string
  /** `connect`, `greeting`, `tls`, `auth`, `answer`. */
  readonly step: string

  constructor(code: string, step: string, message: string) {
    super(message)
    this.name = 'NatsProbeError'
    this.code = code
    this.step = step
  }
}

/** What a server says of itself. */
export interface NatsGreeting {
  readonly id: string
  readonly version: string
  /** Empty where it belongs to none. */
  readonly cluster: string
  readonly maxPayload: number
  readonly isAuthRequired: boolean
  readonly isTlsRequired: boolean
  /** It is about to end (lame duck). */
  readonly isLeaving: boolean
}

export interface ProbeMessage {
  readonly subject: string
  readonly reply: string | undefined
  readonly data: Buffer
  /** Of a status message: 503 where nobody listens. */
  readonly status: number | undefined
}

export interface ProbeSubscription {
  /** The next message. Rejects with NO_ANSWER. */
  next(timeoutMs: number): Promise<ProbeMessage>
  close(): void
}

export interface NatsProbe {
  /** The newest: a server speaks again when something changes. */
  readonly greeting: NatsGreeting
  readonly isEncrypted: boolean
  /** Texts of `-ERR` lines, in their order. */
  readonly errors: readonly string[]
  subscribe(subject: string): ProbeSubscription
  publish(subject: string, data?: Uint8Array, reply?: string): void
  /** Resolves when the server has worked off all that was sent, with the errors that came meanwhile. */
  flush(): Promise<readonly string[]>
  /** Would a publish there be taken? Nothing is delivered to anybody. */
  mayPublish(subject: string): Promise<boolean>
  /** Is a subscription taken? It is undone at once. */
  maySubscribe(subject: string): Promise<boolean>
  /** Rejects with NO_ANSWER, NO_PERMISSION, or HUNG_UP. */
  request(subject: string, data?: Uint8Array): Promise<ProbeMessage>
  close(): void
}

export interface ProbeOptions {
  /** Shown by the server's monitoring. */
  readonly name: string
  /** For each step. */
  readonly timeoutMs: number
}

const maxLineBytes = 64 * 1024
/** How long another service gets to betray itself. */
const nudgeMs = 300
/**
 * Clients may not ask for answers there; the server checks the subject before it checks this. A publish with it is
 * judged and never routed, so that a right can be asked for without using it.
 */
const forbiddenReply = '_R_.arqon-preflight.dry-run'

/** Rejects with NatsProbeError; its text names neither user nor password. */
export async function probeNats(server: NatsServer, options: ProbeOptions): Promise<NatsProbe> {
  const connection = new Connection(await dial(server, options.timeoutMs), options.timeoutMs)
  try {
    await connection.introduce(server, options.name)
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

function dial({ host, port }: NatsServer, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: bareHost(host), port })
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new NatsProbeError('ETIMEDOUT', 'connect', `no connection within ${timeoutMs} ms`))
    }, timeoutMs)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.removeAllListeners('error')
      socket.setNoDelay(true)
      resolve(socket)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      reject(new NatsProbeError(error.code ?? 'ECONNRESET', 'connect', error.message))
    })
  })
}

interface Waiter {
  settle(): boolean
  fail(error: NatsProbeError): void
}

interface Pending {
  readonly subject: string
  readonly queue: ProbeMessage[]
}

class Connection implements NatsProbe {
  readonly errors: string[] = []
  isEncrypted = false
  #socket: Socket
  readonly #timeoutMs: number
  #buffer: Buffer = Buffer.alloc(0)
  #info: JsonObject | undefined
  #pongs = 0
  #pingsSent = 0
  #subscriptions = new Map<string, Pending>()
  #nextId = 1
  #waiters = new Set<Waiter>()
  #failure: NatsProbeError | undefined
  #step = 'greeting'

  constructor(socket: Socket, timeoutMs: number) {
    this.#timeoutMs = timeoutMs
    this.#socket = socket
    this.#listen(socket)
  }

  get greeting(): NatsGreeting {
    const info = this.#info ?? {}
    const text = (name: string): string => (typeof info[name] === 'string' ? info[name] : '')
    return {
      id: text('server_id'),
      version: text('version'),
      cluster: text('cluster'),
      maxPayload: typeof info['max_payload'] === 'number' ? info['max_payload'] : 0,
      isAuthRequired: info['auth_required'] === true,
      isTlsRequired: info['tls_required'] === true,
      isLeaving: info['ldm'] === true,
    }
  }

  async introduce(server: NatsServer, name: string): Promise<void> {
    await this.#greeted()
    const { tls_required: isRequired, tls_available: isOffered } = this.#info!
    const isSpoken = isRequired === true || isOffered === true
    if (server.isTls && !isSpoken) throw new NatsProbeError('TLS_REFUSED', 'tls', 'the server offers no TLS')
    // As the link does: what is offered is used.
    if (isSpoken) await this.#encrypt(server)
    this.#step = 'auth'
    const { user, password } = server
    const credentials = password === undefined ? { auth_token: user } : { user, pass: password }
    const hello = { verbose: false, pedantic: false, lang: 'node', version: '1', protocol: 1, name }
    // In one write with the ping behind it: a server that refuses and finds more to read resets the connection, and
    // the reset takes its words with it.
    const socket = this.#socket
    socket.cork()
    process.nextTick(() => socket.uncork())
    this.#send(`CONNECT ${JSON.stringify({ ...hello, headers: true, no_responders: true, ...credentials })}\r\n`)
    try {
      const [error] = await this.flush()
      if (error !== undefined) throw refusal(error, 'auth')
    } catch (error) {
      const isRefused = error instanceof NatsProbeError && error.code === 'AUTH_REFUSED'
      throw isRefused && user === undefined ? new NatsProbeError('AUTH_REQUIRED', 'auth', error.message) : error
    }
    this.#step = 'answer'
  }

  /** NATS speaks first. Of what does not, a word tells whether it is another service or a hole. */
  async #greeted(): Promise<void> {
    try {
      await this.#until(() => this.#info !== undefined, this.#timeoutMs)
    } catch (error) {
      if (!(error instanceof NatsProbeError) || error.code !== 'NO_ANSWER') throw error
      this.#send('PING\r\n\r\n')
      await this.#until(() => this.#failure !== undefined, nudgeMs).catch(() => undefined)
      throw this.#failure ?? error
    }
  }

  subscribe(subject: string): ProbeSubscription {
    const id = String(this.#nextId++)
    const pending: Pending = { subject, queue: [] }
    this.#subscriptions.set(id, pending)
    this.#send(`SUB ${subject} ${id}\r\n`)
    return {
      next: async (timeoutMs) => {
        await this.#until(() => pending.queue.length > 0, timeoutMs)
        return pending.queue.shift()!
      },
      close: () => {
        this.#subscriptions.delete(id)
        this.#send(`UNSUB ${id}\r\n`)
      },
    }
  }

  publish(subject: string, data: Uint8Array = new Uint8Array(), reply?: string): void {
    const head = `PUB ${subject}${reply === undefined ? '' : ` ${reply}`} ${data.length}\r\n`
    this.#send(Buffer.concat([Buffer.from(head), data, Buffer.from('\r\n')]))
  }

  async flush(): Promise<readonly string[]> {
    const seen = this.errors.length
    const wanted = ++this.#pingsSent
    this.#send('PING\r\n')
    await this.#until(() => this.#pongs >= wanted, this.#timeoutMs)
    return this.errors.slice(seen)
  }

  async mayPublish(subject: string): Promise<boolean> {
    this.publish(subject, undefined, forbiddenReply)
    const errors = await this.flush()
    return !errors.some((text) =>
      text.toLowerCase().includes(`permissions violation for publish to "${subject}"`.toLowerCase()),
    )
  }

  async maySubscribe(subject: string): Promise<boolean> {
    const subscription = this.subscribe(subject)
    const errors = await this.flush()
    subscription.close()
    return !errors.some((text) => /permissions violation for subscription/i.test(text) && text.includes(`"${subject}"`))
  }

  async request(subject: string, data?: Uint8Array): Promise<ProbeMessage> {
    const inbox = `_INBOX.arqon-preflight.${process.pid}.${performance.now().toString(36).replace('.', '')}.${this.#nextId}`
    const subscription = this.subscribe(inbox)
    try {
      this.publish(subject, data, inbox)
      const errors = await this.flush()
      const denied = errors.find((text) => /permissions violation/i.test(text))
      if (denied !== undefined) throw refusal(denied, 'answer')
      return await subscription.next(this.#timeoutMs)
    } finally {
      subscription.close()
    }
  }

  close(): void {
    this.#fail(new NatsProbeError('HUNG_UP', this.#step, 'closed'))
    this.#socket.destroy()
  }

  async #encrypt(server: NatsServer): Promise<void> {
    this.#step = 'tls'
    const plainSocket = this.#socket
    plainSocket.removeAllListeners('data')
    const host = bareHost(server.host)
    // An IP address is no name for SNI; the certificate is held to `host` then. Without it, Node would take `localhost`.
    const secure = connectTls({ socket: plainSocket, host, servername: isIP(host) === 0 ? host : '' })
    this.#socket = secure
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new NatsProbeError('NO_ANSWER', 'tls', `no handshake within ${this.#timeoutMs} ms`))
      }, this.#timeoutMs)
      secure.once('secureConnect', () => {
        clearTimeout(timer)
        secure.removeAllListeners('error')
        resolve()
      })
      secure.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer)
        reject(new NatsProbeError(error.code ?? 'TLS_REFUSED', 'tls', error.message))
      })
    })
    this.isEncrypted = true
    this.#listen(secure)
  }

  #listen(socket: Socket): void {
    socket.on('data', (bytes: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, bytes])
      this.#read()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const last = this.errors.at(-1)
      const code = error.code ?? 'ECONNRESET'
      this.#fail(last === undefined ? new NatsProbeError(code, this.#step, error.message) : refusal(last, this.#step))
    })
    socket.on('close', () => {
      const last = this.errors.at(-1)
      this.#fail(
        last === undefined
          ? new NatsProbeError('HUNG_UP', this.#step, 'the server hung up')
          : refusal(last, this.#step),
      )
    })
  }

  #read(): void {
    for (;;) {
      const end = this.#buffer.indexOf('\r\n')
      if (end === -1 && this.#buffer.length <= maxLineBytes) break
      const line = this.#buffer.subarray(0, Math.max(0, end)).toString('utf8')
      if (!this.#take(line, end + 2)) break
    }
    for (const waiter of this.#waiters) if (waiter.settle()) this.#waiters.delete(waiter)
  }

  /** False where the rest of a message is still under way, or the other side is no NATS server. */
  #take(line: string, bodyAt: number): boolean {
    const [word = '', ...parts] = line.split(/[ \t]+/)
    const kind = word.toUpperCase()
    if (kind === 'MSG' || kind === 'HMSG') return this.#message(kind === 'HMSG', parts, bodyAt)
    this.#buffer = this.#buffer.subarray(bodyAt)
    if (kind === 'INFO') {
      const info = parseObject(line.slice(word.length))
      if (info !== undefined) this.#info = info
    } else if (kind === 'PING') this.#send('PONG\r\n')
    else if (kind === 'PONG') this.#pongs++
    else if (kind === '-ERR') this.errors.push(line.slice(word.length).trim().replace(/^'|'$/g, ''))
    if ((kind === 'INFO' && this.#info === undefined) || !['INFO', 'PING', 'PONG', '-ERR', '+OK'].includes(kind)) {
      this.#fail(new NatsProbeError('NOT_THE_PROTOCOL', this.#step, 'what answers there is no NATS server'))
      return false
    }
    return true
  }

  #message(hasHeaders: boolean, parts: readonly string[], bodyAt: number): boolean {
    const sizes = hasHeaders ? 2 : 1
    const total = Number(parts.at(-1))
    const headerBytes = hasHeaders ? Number(parts.at(-2)) : 0
    if (this.#buffer.length < bodyAt + total + 2) return false
    const body = this.#buffer.subarray(bodyAt, bodyAt + total)
    this.#buffer = this.#buffer.subarray(bodyAt + total + 2)
    const status = /^NATS\/1\.0 (\d{3})/.exec(body.subarray(0, headerBytes).toString('latin1'))?.[1]
    this.#subscriptions.get(parts[1] ?? '')?.queue.push({
      subject: parts[0] ?? '',
      reply: parts.length > 2 + sizes ? parts[2] : undefined,
      data: Buffer.from(body.subarray(headerBytes)),
      status: status === undefined ? undefined : Number(status),
    })
    return true
  }

  #until(isThere: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (isThere()) return resolve()
      if (this.#failure !== undefined) return reject(this.#failure)
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        reject(new NatsProbeError('NO_ANSWER', this.#step, `no answer within ${timeoutMs} ms`))
      }, timeoutMs)
      const waiter: Waiter = {
        settle() {
          if (!isThere()) return false
          clearTimeout(timer)
          resolve()
          return true
        },
        fail(error) {
          clearTimeout(timer)
          reject(error)
        },
      }
      this.#waiters.add(waiter)
    })
  }

  #fail(error: NatsProbeError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    for (const waiter of this.#waiters) if (!waiter.settle()) waiter.fail(error)
    this.#waiters.clear()
    this.#socket.destroy()
  }

  #send(bytes: string | Buffer): void {
    if (this.#failure === undefined) this.#socket.write(bytes)
  }
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

const refusals: readonly (readonly [RegExp, string])[] = [
  [/authorization violation|authentication (?:expired|timeout|revoked)/i, 'AUTH_REFUSED'],
  [/permissions violation/i, 'NO_PERMISSION'],
  [/secure connection|tls required/i, 'TLS_REQUIRED'],
  [/maximum connections|maximum account active/i, 'TOO_MANY_CONNECTIONS'],
]

/** What an `-ERR` line means. */
function refusal(text: string, step: string): NatsProbeError {
  const code = refusals.find(([form]) => form.test(text))?.[1] ?? 'SERVER_ERROR'
  return new NatsProbeError(code, step, `the server says: ${text}`)
}
