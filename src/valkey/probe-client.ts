// A client that looks once: one connection, no second try, no queue, a bound on every wait. The library under the bus
// is not used here, for its errors tell too little: which reply refused us, and whether nobody answered, nobody was
// there, or somebody else was.
import { lookup } from 'node:dns/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { ValkeyAddress } from './address.ts'
import { encodeCommand, ErrorReply, NotRespError, parseReply, type RespReply } from './resp.ts'

export type ProbeStep = 'dns' | 'tcp' | 'tls' | 'hello' | 'select' | 'command'

/**
 * `code`: `REPLY` (the server refused; `word` and `text` are its own), `NO_ANSWER`, `HUNG_UP`, `NOT_RESP`, `ABORTED`,
 * or what the socket, the resolver or TLS calls it. Holds no secret.
 */
export class ProbeFailure extends Error {
  readonly step: ProbeStep
  readonly code: string
  readonly text: string
  readonly word: string | undefined

  constructor(step: ProbeStep, code: string, text: string, word?: string) {
    super(`${step}: ${code}: ${text}`)
    this.name = 'ProbeFailure'
    this.step = step
    this.code = code
    this.text = text
    this.word = word
  }
}

export interface Certificate {
  /** RFC 3339. */
  readonly endsAt: string
}

export interface ProbeClient {
  readonly certificate: Certificate | undefined
  /** Rejects with ProbeFailure, `REPLY` for an error reply. Several may be under way. */
  send(args: readonly string[]): Promise<RespReply>
  /** As `send`, but an error reply is an answer. */
  ask(args: readonly string[]): Promise<RespReply>
  close(): void
}

export interface ProbeDial {
  readonly signal: AbortSignal
  /** One of the addresses of the host, in place of whichever answers first. */
  readonly ip?: string
  /** How long each answer may take; default 3 s. */
  readonly replyMs?: number
}

const tcpMs = 2_000
const tlsMs = 2_000
const defaultReplyMs = 3_000
/** For a question on the side, so that what was found before it is still told in time. */
const asideMs = 1_000
const maxShown = 200

/** All addresses of the host, in the order of the resolver; none for a Unix socket. Never from a cache of ours. */
export async function lookUp({ host }: ValkeyAddress): Promise<readonly string[]> {
  if (host === undefined) return []
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address)
  } catch (error) {
    throw socketFailure('dns', error)
  }
}

/** Connected, greeted as the bus does (HELLO 3 with its user and password), and in the address' database. */
export async function dialProbe(address: ValkeyAddress, dial: ProbeDial): Promise<ProbeClient> {
  const socket = await open(address, dial)
  const client = converse(socket, address, dial)
  try {
    const { user, password, database } = address
    const auth = user === undefined && password === undefined ? [] : ['AUTH', user ?? 'default', password ?? '']
    await client.sendAt('hello', ['HELLO', '3', ...auth, 'SETNAME', 'arqonbus-preflight'])
    if (database !== 0) await client.sendAt('select', ['SELECT', String(database)])
    return client
  } catch (error) {
    client.close()
    throw error
  }
}

/** Does it answer a PING there, with TLS or without, whoever we are? Nothing secret is sent, no certificate is held to. */
export async function answersPing(address: ValkeyAddress, isTls: boolean, dial: ProbeDial): Promise<boolean> {
  try {
    const socket = await open({ ...address, isTls }, { ...dial, isTrusting: true })
    const client = converse(socket, address, { ...dial, replyMs: asideMs })
    try {
      await client.ask(['PING'])
      return true
    } finally {
      client.close()
    }
  } catch {
    return false
  }
}

async function open(address: ValkeyAddress, dial: ProbeDial & { readonly isTrusting?: boolean }): Promise<Socket> {
  const { host = 'localhost', port, path } = address
  const place = path === undefined ? { host: dial.ip ?? host, port } : { path }
  const tcp = connectTcp(place)
  await opened(tcp, { event: 'connect', step: 'tcp', ms: tcpMs, signal: dial.signal })
  if (!address.isTls) return tcp
  // The name is held to even where we connect to one of its addresses.
  const secure = connectTls({
    socket: tcp,
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ...(dial.isTrusting === true && { rejectUnauthorized: false }),
  })
  await opened(secure, { event: 'secureConnect', step: 'tls', ms: tlsMs, signal: dial.signal })
  return secure
}

interface Opening {
  readonly event: 'connect' | 'secureConnect'
  readonly step: ProbeStep
  readonly ms: number
  readonly signal: AbortSignal
}

async function opened(socket: Socket, { event, step, ms, signal }: Opening): Promise<void> {
  const silent = step === 'tcp' ? 'ETIMEDOUT' : 'NO_ANSWER'
  let timer: NodeJS.Timeout | undefined
  const abort = (): void => void socket.destroy(new ProbeFailure(step, 'ABORTED', 'no more time'))
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => {
        socket.destroy()
        reject(new ProbeFailure(step, silent, `nothing within ${ms} ms`))
      }, ms)
      signal.addEventListener('abort', abort)
      socket.once(event, () => resolve())
      socket.on('error', (error) => reject(socketFailure(step, error)))
      socket.once('close', () => reject(new ProbeFailure(step, 'HUNG_UP', 'the connection was ended')))
      if (signal.aborted) abort()
    })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}

interface Conversation extends ProbeClient {
  sendAt(step: ProbeStep, args: readonly string[]): Promise<RespReply>
}

interface Waiting {
  readonly step: ProbeStep
  readonly timer: NodeJS.Timeout
  readonly resolve: (reply: RespReply) => void
  readonly reject: (failure: ProbeFailure) => void
}

function converse(
  socket: Socket,
  address: ValkeyAddress,
  { signal, replyMs = defaultReplyMs }: ProbeDial,
): Conversation {
  const waiting: Waiting[] = []
  let bytes = Buffer.alloc(0)
  let ended: ((step: ProbeStep) => ProbeFailure) | undefined
  const certificate = certificateOf(socket)

  function end(failure: (step: ProbeStep) => ProbeFailure): void {
    ended ??= failure
    socket.destroy()
    signal.removeEventListener('abort', abort)
    for (const { step, timer, reject } of waiting.splice(0)) {
      clearTimeout(timer)
      reject(ended(step))
    }
  }
  const abort = (): void => end((step) => new ProbeFailure(step, 'ABORTED', 'no more time'))

  function take(chunk: Buffer): void {
    bytes = Buffer.concat([bytes, chunk])
    try {
      for (let parsed = parseReply(bytes); parsed !== undefined; parsed = parseReply(bytes)) {
        bytes = bytes.subarray(parsed.end)
        if (parsed.isPush) continue
        const next = waiting.shift()
        if (next === undefined) throw new NotRespError(Buffer.from('a reply to nothing'))
        clearTimeout(next.timer)
        next.resolve(parsed.reply)
      }
    } catch (error) {
      const shown = error instanceof NotRespError ? error.shown : 'a reply that cannot be read'
      end((step) => new ProbeFailure(step, 'NOT_RESP', `"${shown}"`))
    }
  }

  socket.on('data', take)
  socket.on('error', (error) => end((step) => socketFailure(step, error)))
  socket.on('close', () => end((step) => new ProbeFailure(step, 'HUNG_UP', 'the connection was ended')))
  signal.addEventListener('abort', abort)

  function ask(step: ProbeStep, args: readonly string[]): Promise<RespReply> {
    return new Promise((resolve, reject) => {
      if (ended !== undefined) {
        reject(ended(step))
        return
      }
      const timer = setTimeout(
        () => end((of) => new ProbeFailure(of, 'NO_ANSWER', `${args[0]} was not answered within ${replyMs} ms`)),
        replyMs,
      )
      waiting.push({ step, timer, resolve, reject })
      socket.write(encodeCommand(args))
    })
  }

  async function sendAt(step: ProbeStep, args: readonly string[]): Promise<RespReply> {
    const reply = await ask(step, args)
    if (!(reply instanceof ErrorReply)) return reply
    throw new ProbeFailure(step, 'REPLY', `${args[0]}: ${shownText(reply.text, address)}`, reply.word)
  }

  return {
    certificate,
    sendAt,
    send: (args) => sendAt('command', args),
    ask: (args) => ask('command', args),
    close: () => end((step) => new ProbeFailure(step, 'ABORTED', 'closed')),
  }
}

function certificateOf(socket: Socket): Certificate | undefined {
  if (!('getPeerCertificate' in socket)) return undefined
  const { valid_to: text } = (socket as TLSSocket).getPeerCertificate()
  const endsAtMs = Date.parse(text)
  return Number.isNaN(endsAtMs) ? undefined : { endsAt: new Date(endsAtMs).toISOString() }
}

function socketFailure(step: ProbeStep, error: unknown): ProbeFailure {
  if (error instanceof ProbeFailure) return error
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: 'failed' }
  return new ProbeFailure(step, code ?? 'FAILED', message === '' ? String(code) : message)
}

/** Words of the server: one line, without the password even where it repeats it. */
function shownText(text: string, { password }: ValkeyAddress): string {
  const hidden = password === undefined ? text : text.replaceAll(password, '***')
  return hidden.replace(/[^\x20-\x7e]+/g, ' ').slice(0, maxShown)
}
