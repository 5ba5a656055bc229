// A real Chromium without a window, spoken to by its DevTools protocol. Absent, its tests are skipped with a word: it is
// no neighbour of the bus, and too large to be installed for one page.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { findProgram } from './servers/neighbours.ts'

export const browserProgram = (): string | undefined =>
  findProgram(['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'])

/**
 * For `describe.skipIf`. Also in CI: installing a browser takes longer than all of these tests, and what can be said of
 * the page without one is said in test/unit/preflight/reporters.test.ts, which always runs.
 */
export function skipWithoutBrowser(): boolean {
  if (browserProgram() !== undefined) return false
  process.stderr.write(
    'SKIPPED: no chromium found (apt-get install chromium); the page is not looked at in a browser\n',
  )
  return true
}

type Params = Readonly<Record<string, unknown>>

export interface Page {
  /** Sends a command of the protocol, resolves with its result. */
  send(method: string, params?: Params): Promise<Record<string, unknown>>
  /** The value of an expression in the page; promises are awaited. */
  evaluate(expression: string): Promise<unknown>
  /** Loads an address and waits until it is there. */
  open(url: string): Promise<void>
  /** Clicks the middle of an element with the mouse. */
  click(selector: string): Promise<void>
  /** What was told so far, by method. */
  events(method: string): readonly Params[]
}

export interface Browser {
  readonly page: Page
  close(): Promise<void>
}

const startWithinMs = 20_000

export async function openBrowser(): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'arqonbus-browser-'))
  const child = spawn(
    browserProgram()!,
    [
      ...'--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run'.split(' '),
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const killOnExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killOnExit)
  const close = async (): Promise<void> => {
    process.off('exit', killOnExit)
    child.kill('SIGKILL')
    await ended
    await rm(profile, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    const port = new URL(await addressOf(child)).port
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as Record<string, string>[]
    const target = targets.find(({ type }) => type === 'page')!
    return { page: await attach(target['webSocketDebuggerUrl']!), close }
  } catch (error) {
    await close()
    throw error
  }
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(() => reject(new Error(`the browser did not start:\n${text}`)), startWithinMs)
    child.once('close', (code) => reject(new Error(`the browser ended with ${code}:\n${text}`)))
    child.stderr!.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const address = /DevTools listening on (ws:\S+)/.exec(text)?.[1]
      if (address === undefined) return
      clearTimeout(timer)
      resolve(address)
    })
  })
}

async function attach(url: string): Promise<Page> {
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  const waiting = new Map<
    number,
    (message: { error?: { message: string }; result?: Record<string, unknown> }) => void
  >()
  const told: { method: string; params: Params }[] = []
  const listeners = new Set<(method: string) => void>()
  socket.on('message', (raw: Buffer) => {
    const message = JSON.parse(raw.toString())
    if (message.id === undefined) {
      told.push(message)
      for (const listener of listeners) listener(message.method)
    } else waiting.get(message.id)?.(message)
  })
  let last = 0
  const send: Page['send'] = (method, params = {}) =>
    new Promise((resolve, reject) => {
      const id = ++last
      waiting.set(id, ({ error, result }) => {
        waiting.delete(id)
        if (error === undefined) resolve(result ?? {})
        else reject(new Error(`${method}: ${error.message}`))
      })
      socket.send(JSON.stringify({ id, method, params }))
    })
  const next = (wanted: string): Promise<void> =>
    new Promise((resolve) => {
      const listener = (method: string): void => {
        if (method !== wanted) return
        listeners.delete(listener)
        resolve()
      }
      listeners.add(listener)
    })
  const evaluate = async (expression: string): Promise<unknown> => {
    const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true }
    const { result, exceptionDetails } = await send('Runtime.evaluate', options)
    if (exceptionDetails !== undefined) throw new Error(`in the page: ${JSON.stringify(exceptionDetails)}`)
    return (result as { value?: unknown }).value
  }
  for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'DOM']) await send(`${domain}.enable`)
  return {
    send,
    evaluate,
    events: (method) => told.filter((one) => one.method === method).map(({ params }) => params),
    async open(address) {
      const loaded = next('Page.loadEventFired')
      await send('Page.navigate', { url: address })
      await loaded
    },
    async click(selector) {
      const name = JSON.stringify(selector)
      const place = (await evaluate(
        `(() => { const e = document.querySelector(${name}); e.scrollIntoView({ block: 'center', inline: 'center' }); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()`,
      )) as [number, number]
      const [x, y] = place
      for (const type of ['mousePressed', 'mouseReleased']) {
        await send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 })
      }
    },
  }
}
