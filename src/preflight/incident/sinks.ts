// Where tickets go: a file, a webhook, a command. A delivery that fails is said, and changes no verdict.
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { BusError } from '../../base/errors.ts'
import { redactUrl } from '../../config/urls.ts'
import type { Route } from './route.ts'

export type Sink =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'webhook' | 'slack'; readonly url: string }
  | { readonly kind: 'command'; readonly argv: readonly [string, ...string[]] }

export interface Delivery {
  readonly runId: string
  readonly digest: string
  readonly route: Route
  /** Where the bundle is, when there is one. */
  readonly bundle?: string
}

export interface DeliverOptions {
  /** Keys the signature of webhooks; without it they are not signed. */
  readonly secret?: string
  /** For each attempt. */
  readonly timeoutMs?: number
  /** The environment of a command. */
  readonly env?: Readonly<Record<string, string>>
}

/** `file=PATH`, `webhook=URL`, `slack=URL`, `command=PROGRAM ARG…` or `command=["PROGRAM","ARG"]`. Throws USAGE. */
export function parseSink(text: string): Sink {
  const equals = text.indexOf('=')
  const kind = text.slice(0, Math.max(0, equals))
  const rest = text.slice(equals + 1)
  if (rest === '') throw usage('a route is file=PATH, webhook=URL, slack=URL or command=ARGV')
  if (kind === 'file') return { kind, path: rest }
  if (kind === 'webhook' || kind === 'slack') {
    if (!/^https?:\/\//.test(rest) || !URL.canParse(rest))
      throw usage(`the route ${kind} needs an http or https address`)
    const url = new URL(rest)
    if (url.username !== '' || url.password !== '') throw usage(`the route ${kind} may hold no user or password`)
    return { kind, url: rest }
  }
  if (kind === 'command') return { kind, argv: parseArgv(rest) }
  throw usage('a route is file=PATH, webhook=URL, slack=URL or command=ARGV')
}

function parseArgv(text: string): [string, ...string[]] {
  let words: unknown = text.split(' ').filter((word) => word !== '')
  if (text.startsWith('[')) {
    try {
      words = JSON.parse(text)
    } catch {
      words = []
    }
  }
  if (!Array.isArray(words) || words.length === 0 || !words.every((word) => typeof word === 'string')) {
    throw usage('the route command needs a program and its arguments')
  }
  return words as [string, ...string[]] // as just checked
}

const usage = (message: string): BusError => new BusError('USAGE', message, { reason: 'BAD_ROUTE' })

/** What may be shown of a sink: never the path of a webhook. */
export function describeSink(sink: Sink): string {
  if (sink.kind === 'file') return `file ${sink.path}`
  return sink.kind === 'command' ? `command ${sink.argv[0]}` : `${sink.kind} ${redactUrl(sink.url)}`
}

/** Undefined when it arrived; else why it did not. Never rejects. */
export async function deliver(
  sink: Sink,
  delivery: Delivery,
  options: DeliverOptions = {},
): Promise<string | undefined> {
  try {
    const body = JSON.stringify(sink.kind === 'slack' ? slackBody(delivery) : delivery)
    if (sink.kind === 'file') {
      writeFileSync(sink.path, `${JSON.stringify(delivery, undefined, 2)}\n`, { mode: 0o600 })
      chmodSync(sink.path, 0o600)
      return undefined
    }
    if (sink.kind === 'command') return await pipeTo(sink.argv, body, options)
    const first = await post(sink.url, body, delivery.runId, options)
    if (first === undefined || !first.canHeal) return first?.why
    return (await post(sink.url, body, delivery.runId, options))?.why
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'failed' // of a system call; its message may hold the address
  }
}

/** Of the body's bytes, `sha256=` and hex; as common webhook receivers check it. */
export const signatureOf = (body: string, secret: string): string =>
  `sha256=${createHmac('sha256', secret).update(body, 'utf8').digest('hex')}`

const defaultTimeoutMs = 5_000

async function post(
  url: string,
  body: string,
  runId: string,
  { secret, timeoutMs = defaultTimeoutMs }: DeliverOptions,
): Promise<{ readonly why: string; readonly canHeal: boolean } | undefined> {
  const aborter = new AbortController()
  const timer = setTimeout(() => aborter.abort(), timeoutMs) // holds the process, as AbortSignal.timeout does not
  try {
    const answer = await fetch(url, {
      method: 'POST',
      body,
      redirect: 'manual', // a signed body goes where it was meant to go
      signal: aborter.signal,
      headers: {
        'content-type': 'application/json',
        'x-arqonbus-delivery': runId, // equal for the second attempt
        ...(secret !== undefined && { 'x-arqonbus-signature': signatureOf(body, secret) }),
      },
    })
    await answer.body?.cancel()
    return answer.ok ? undefined : { why: `it answered ${answer.status}`, canHeal: answer.status >= 500 }
  } catch (error) {
    if (aborter.signal.aborted) return { why: `no answer within ${timeoutMs} ms`, canHeal: true }
    const { cause } = error as { cause?: { code?: unknown } } // fetch puts the system's error there
    return { why: typeof cause?.code === 'string' ? cause.code : 'it could not be reached', canHeal: true }
  } finally {
    clearTimeout(timer)
  }
}

async function pipeTo(
  [program, ...args]: readonly [string, ...string[]],
  body: string,
  { timeoutMs = defaultTimeoutMs, env = {} }: DeliverOptions,
): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'], env })
    const timer = setTimeout(() => {
      resolve(`it did not end within ${timeoutMs} ms`)
      child.kill('SIGKILL')
    }, timeoutMs)
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      resolve(error.code ?? 'it could not be started')
    })
    child.on('close', (exit, signal) => {
      clearTimeout(timer)
      resolve(exit === 0 ? undefined : `it ended with ${exit ?? signal}`)
    })
    child.stdin.on('error', () => undefined) // a command that reads nothing says so by its exit code
    child.stdin.end(`${body}\n`)
  })
}

/** Slack's incoming webhooks: `text` for notifications, blocks for the rest. */
function slackBody({ route, bundle, digest }: Delivery): object {
  const title = `Preflight NO-GO, ${route.label}: ${route.tickets.length} root ${route.tickets.length === 1 ? 'cause' : 'causes'}, for ${route.owner}`
  return {
    text: title,
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: title.slice(0, 150) } },
      // At most 50 blocks are taken, of 3,000 letters each.
      ...route.tickets.slice(0, 40).map(({ title: what, text }) => ({
        type: 'section',
        text: { type: 'plain_text', text: `${what}\n${text}`.slice(0, 3_000) },
      })),
      {
        type: 'context',
        elements: [
          { type: 'plain_text', text: `${digest}${bundle === undefined ? '' : `, bundle ${bundle}`}`.slice(0, 2_000) },
        ],
      },
    ],
  }
}
