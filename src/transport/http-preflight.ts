// What the HTTP port shows of preflights, and how an administrator starts one. Nothing here is for liveness or readiness:
// the answer is 200 whatever the verdict, and a failed dependency must not restart a fleet.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { invalid } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import { type HttpAnswer, ok, refusal } from './http-answer.ts'
import { judgeAdmin } from './http-guards.ts'

export interface LastPreflight {
  readonly verdict: string
  readonly digest: string
  /** When it was over, RFC 3339. */
  readonly at: string
  /** The whole of it; an administrator's alone. */
  readonly report: JsonObject
}

export type PreflightStart =
  | { readonly run: string }
  /** One at a time. */
  | { readonly refused: 'running'; readonly run: string }
  | { readonly refused: 'too-soon'; readonly retryAfterSeconds: number }

export type PreflightDiff =
  /** As `preflight diff --json` prints it. */
  | { readonly diff: JsonObject }
  /** One at a time; one of the runs is not kept here; it could not be worked out. */
  | { readonly refused: 'running' | 'no-run' | 'failed' }

export interface PreflightSink {
  /** `data` is one line. */
  event(name: string, data: string): void
  end(): void
}

/** What the program knows of preflights. */
export interface PreflightView {
  last(): LastPreflight | undefined
  /** `read`: nothing is changed, not even for a moment. */
  start(effects: 'read' | 'write'): PreflightStart
  /** Two runs by their ids, or `last`; `before` may be `last-green`. Never rejects. */
  diff(before: string, after: string): Promise<PreflightDiff>
  /** May one more follow? */
  hasRoom(): boolean
  /** Tells what the run that is going on has shown so far, then all that follows. Returns what ends that. */
  follow(sink: PreflightSink): () => void
}

/** What became of the certificate that the program started under. */
export interface CertificateView {
  /** `valid`, `drifted`, `violated`, or `none` after a start by break-glass. */
  readonly state: string
  /** An administrator's alone. */
  readonly details: JsonObject
}

interface Context {
  readonly views: {
    readonly preflight?: PreflightView
    certificate?(): Promise<CertificateView | undefined>
  }
  readonly admin: Parameters<typeof judgeAdmin>[1]
}

const notHere = refusal(503, 'FEATURE_DISABLED', 'This program does not offer that')

/** Verdict and state for everybody; report and details for who shows the key, and a wrong key is refused. */
export async function answerPreflight(request: IncomingMessage, { views, admin }: Context): Promise<HttpAnswer> {
  const showsKey = request.headers['x-api-key'] !== undefined || request.headers.authorization !== undefined
  const refused = judgeAdmin(request, admin)
  if (showsKey && refused !== undefined) return refused
  const certificate = await views.certificate?.()
  if (views.preflight === undefined && certificate === undefined) return notHere
  const last = views.preflight?.last()
  if (last === undefined && certificate === undefined) {
    return refusal(404, 'NO_REPORT', 'No preflight has been run here: POST /preflight/runs')
  }
  const isAdmin = refused === undefined
  return ok({
    ...(last !== undefined && { verdict: last.verdict, digest: last.digest, at: last.at }),
    ...(certificate !== undefined && {
      certificate: { state: certificate.state, ...(isAdmin && certificate.details) },
    }),
    ...(last !== undefined && isAdmin && { report: last.report }),
  })
}

export function startPreflight(request: IncomingMessage, { views, admin }: Context): HttpAnswer {
  const refused = judgeAdmin(request, admin)
  if (refused !== undefined) return refused
  if (views.preflight === undefined) return notHere
  const effects = effectsIn(request.url ?? '/')
  const started = views.preflight.start(effects)
  if (!('refused' in started)) {
    return { status: 202, body: { run: started.run, effects, stream: '/preflight/stream', report: '/preflight' } }
  }
  if (started.refused === 'running') {
    return refusal(409, 'PREFLIGHT_RUNNING', `Run ${started.run} is not over: GET /preflight/stream follows it`)
  }
  const { retryAfterSeconds } = started
  return refusal(429, 'TOO_SOON', `The next run may start in ${retryAfterSeconds} s`, {
    'retry-after': String(retryAfterSeconds),
  })
}

function effectsIn(target: string): 'read' | 'write' {
  const parameters = new URLSearchParams(target.split('?', 2)[1] ?? '')
  const effects = parameters.get('effects') ?? 'read'
  const isAlone = [...parameters.keys()].every((key) => key === 'effects') && parameters.size <= 1
  if (isAlone && (effects === 'read' || effects === 'write')) return effects
  throw invalid('BAD_QUERY', 'The query may hold effects=read or effects=write, once')
}

export function streamPreflight(request: IncomingMessage, { views, admin }: Context): HttpAnswer {
  const refused = judgeAdmin(request, admin)
  if (refused !== undefined) return refused
  const { preflight } = views
  if (preflight === undefined) return notHere
  if (!preflight.hasRoom()) return refusal(503, 'TOO_MANY_STREAMS', 'Others follow already', { 'retry-after': '5' })
  return {
    status: 200,
    body: '',
    contentType: 'text/event-stream; charset=utf-8',
    stream: (response) => pour(preflight, response),
  }
}

/** A run's id, or a word for one. */
const diffForm = /^\/preflight\/runs\/([0-9a-z]{1,32}|last-green|last)\/diff\/([0-9a-z]{1,32})$/

export const isDiffPath = (path: string): boolean => diffForm.test(path)

export async function diffPreflights(request: IncomingMessage, { views, admin }: Context): Promise<HttpAnswer> {
  const refused = judgeAdmin(request, admin)
  if (refused !== undefined) return refused
  const { preflight } = views
  if (preflight === undefined) return notHere
  const [, before = '', after = ''] = diffForm.exec((request.url ?? '/').split('?', 1)[0]!) ?? []
  const answer = await preflight.diff(before, after)
  if ('diff' in answer) return ok(answer.diff)
  switch (answer.refused) {
    case 'no-run':
      return refusal(404, 'NO_RUN', 'One of them is not kept here; runs are where ARQONBUS_DATA_DIR is set')
    case 'running':
      return refusal(429, 'TOO_SOON', 'Another diff is being worked out', { 'retry-after': '1' })
    case 'failed':
      return refusal(500, 'INTERNAL_ERROR', 'It could not be worked out; the log says why')
  }
}

/** Keeps proxies from closing a stream on which nothing happens. */
const heartbeatMs = 15_000
/** Whoever reads slower than that is cut off, and can come back for all of it. */
const mostUnreadBytes = 1_024 * 1_024

function pour(preflight: PreflightView, response: ServerResponse): void {
  const write = (text: string): void => {
    if (response.writableLength > mostUnreadBytes) response.destroy()
    else response.write(text)
  }
  write(': preflight\n\n')
  const leave = preflight.follow({
    event: (name, data) => write(`event: ${name}\ndata: ${data}\n\n`),
    end: () => void response.end(),
  })
  const heartbeat = setInterval(() => write(': still here\n\n'), heartbeatMs)
  response.once('close', () => {
    clearInterval(heartbeat)
    leave()
  })
}
