// The launcher under a Node that is too old: it runs the pinned one, passes signals and exit codes on, and the program
// ends in good order when the launcher is killed. Skipped where every Node in PATH is new enough.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'

const command = fileURLToPath(new URL('../../bin/arqonbus.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'arqonbus-launcher-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function findOldNode(): string | undefined {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((place) => join(place, 'node'))
  return candidates.find((node) => {
    if (!existsSync(node)) return false
    return Number(execFileSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' }).split('.')[0]) < 24
  })
}
const oldNode = findOldNode()

const env = {
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
  SHIELD_PORT: '0',
  SHIELD_METRICS_PORT: '0',
  ARQONBUS_LOG_LEVEL: 'error',
}

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<number | null> } {
  const child = spawn(oldNode!, [command, ...args], { cwd: folder, env })
  return { child, ended: new Promise((done) => child.on('close', done)) }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((done, fail) => {
    let text = ''
    child.stdout!.on('data', (chunk) => {
      text += chunk
      if (text.includes('\n')) done(text)
    })
    child.on('close', (code) => fail(new Error(`ended with ${code}: ${text}`)))
  })
}

/** Resolves when nothing listens on the port any more; rejects after 20 s. */
async function untilClosed(port: number): Promise<void> {
  const deadline = performance.now() + 20_000
  while (performance.now() < deadline) {
    const isOpen = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false))
      socket.on('close', () => socket.destroy())
      socket.on('connect', () => socket.destroy())
    })
    if (!isOpen) return
    await new Promise((turn) => setTimeout(turn, 100))
  }
  throw new Error(`port ${port} is still open`)
}

describe.skipIf(oldNode === undefined)('under a Node older than 24 (skipped where PATH has none)', () => {
  it('the pinned one runs, and its exit code is passed on', async () => {
    const version = start(['version'])
    expect(await firstLine(version.child)).toMatch(/\(Node 24\./)
    expect(await version.ended).toBe(0)
    expect(await start(['publish']).ended).toBe(64)
  })

  it('SIGTERM drains the program, which ends with 0', async () => {
    const { child, ended } = start(['up', '--json', '--data-dir', join(folder, 'a')])
    await firstLine(child)
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
  })

  it('the program ends when its launcher is killed', async () => {
    const { child, ended } = start(['up', '--json', '--data-dir', join(folder, 'b')])
    const { bus } = JSON.parse(await firstLine(child)) as { bus: string }
    child.kill('SIGKILL')
    await untilClosed(Number(new URL(bus).port))
    await ended
  })
})
