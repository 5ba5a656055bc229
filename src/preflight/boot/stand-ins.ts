// Services of the candidate's own: real programs in a temporary folder on loopback, and addresses where nobody answers.
// They are never production's, and they are gone when the proof is over.
import { execFile, spawn } from 'node:child_process'
import { chown, mkdir, readdir, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { CheckPorts } from '../check.ts'
import { given, onPath, readText } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { freePorts } from './candidate.ts'

export interface StandIn {
  readonly url: string
  close(): Promise<void>
}

interface Place {
  readonly ports: CheckPorts
  readonly signal: AbortSignal
  /** Of its own. */
  readonly folder: string
}

const readyWithinMs = 15_000
const readyEveryMs = 30

async function startProgram(
  file: string,
  args: readonly string[],
  { signal, folder }: Place,
  options: { readonly isReady: () => Promise<boolean>; readonly user?: object; readonly stop?: NodeJS.Signals },
): Promise<() => Promise<void>> {
  signal.throwIfAborted()
  const child = spawn(file, [...args], {
    cwd: folder,
    env: { PATH: dirname(file), LC_ALL: 'C', TZ: 'UTC' },
    stdio: 'ignore',
    ...options.user,
  })
  const stop = (): void => void child.kill(options.stop ?? 'SIGKILL')
  let hasEnded = false
  const ended = new Promise<void>((resolve) => {
    const settle = (): void => {
      hasEnded = true
      process.off('exit', stop)
      signal.removeEventListener('abort', stop)
      resolve()
    }
    child.once('error', settle)
    child.once('close', settle)
  })
  process.once('exit', stop)
  signal.addEventListener('abort', stop)
  const close = async (): Promise<void> => {
    if (!hasEnded) stop()
    await ended
  }
  const untilMs = performance.now() + readyWithinMs
  while (!(await options.isReady())) {
    if (hasEnded || performance.now() > untilMs) {
      await close()
      throw new ProbeStop('STAND_IN_FAILED', `${file} did not start`, 'stand-in')
    }
    await pause(readyEveryMs)
  }
  return close
}

export async function startValkey(place: Place): Promise<StandIn> {
  const file = await requireProgram(place.ports, ['valkey-server', 'redis-server'])
  const folder = join(place.folder, 'valkey')
  await mkdir(folder)
  const [port] = (await freePorts(1)) as [number]
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes']
  const isReady = (): Promise<boolean> => says(port, 'PING\r\n', '+PONG')
  const close = await startProgram(file, [...args, '--appendfsync', 'always'], { ...place, folder }, { isReady })
  return { url: `redis://127.0.0.1:${port}`, close }
}

export async function startNats(place: Place): Promise<StandIn> {
  const file = await requireProgram(place.ports, ['nats-server'])
  const folder = join(place.folder, 'nats')
  await mkdir(folder)
  const [port] = (await freePorts(1)) as [number]
  await writeFile(join(folder, 'nats.conf'), `listen: "127.0.0.1:${port}"\nmax_payload: 64MB\n`)
  const isReady = (): Promise<boolean> => says(port, '', 'INFO')
  const close = await startProgram(file, ['-c', 'nats.conf'], { ...place, folder }, { isReady })
  return { url: `nats://127.0.0.1:${port}`, close }
}

/** `nobody`, as root: Postgres refuses to be root. */
const nobody = 65_534

/** Empty: no table, no role but `arqonbus`. */
export async function startPostgres(place: Place): Promise<StandIn> {
  const file = await requireProgram(place.ports, ['postgres'])
  const initdb = await requireProgram(place.ports, ['initdb'])
  const isRoot = process.getuid?.() === 0
  const user = isRoot ? { uid: nobody, gid: nobody } : {}
  const folder = join(place.folder, 'postgres')
  await mkdir(folder)
  if (isRoot) {
    // The way there is 0700 and ours: it is opened for passing, not for reading.
    await Promise.all([chown(folder, nobody, nobody), chown(place.folder, -1, nobody)])
    await (await import('node:fs/promises')).chmod(place.folder, 0o710)
  }
  const data = join(folder, 'data')
  const made = ['-D', data, '-U', 'arqonbus', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
  await new Promise<void>((resolve, reject) => {
    const env = { PATH: dirname(initdb), LC_ALL: 'C', TZ: 'UTC' }
    execFile(initdb, made, { cwd: folder, env, signal: place.signal, ...user }, (error) => {
      if (error === null) resolve()
      else reject(new ProbeStop('STAND_IN_FAILED', `${initdb} failed`, 'stand-in'))
    })
  })
  const [port] = (await freePorts(1)) as [number]
  const args = [
    '-D',
    data,
    '-p',
    `${port}`,
    '-c',
    'listen_addresses=127.0.0.1',
    '-c',
    `unix_socket_directories=${folder}`,
  ]
  // Its last line says so, once connections are taken.
  const isReady = async (): Promise<boolean> =>
    /^ready/m.test((await Promise.resolve(readText(join(data, 'postmaster.pid')))) ?? '')
  // SIGQUIT ends its children as well.
  const close = await startProgram(file, args, { ...place, folder }, { isReady, user, stop: 'SIGQUIT' })
  return { url: `postgresql://arqonbus@127.0.0.1:${port}/postgres`, close }
}

/** Takes connections and never says a word. */
export interface Silence {
  readonly port: number
  /** Resolves with the first connection. */
  readonly asked: Promise<void>
  close(): Promise<void>
}

export async function startSilence(): Promise<Silence> {
  const sockets = new Set<Socket>()
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const server = createServer((socket) => {
    ask()
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    socket.resume()
  })
  const [port] = (await freePorts(1)) as [number]
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    port,
    asked,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Where the service looks, and where packages put servers. */
async function requireProgram(ports: CheckPorts, names: readonly string[]): Promise<string> {
  const path = [given(ports, 'PATH') ?? '', ...(await usualFolders())].join(delimiter)
  const wide = { ctx: { ...ports.ctx, resolution: { ...ports.ctx.resolution, given: withPath(ports, path) } } }
  for (const name of names) {
    const file = onPath(wide, name)
    if (file !== undefined) return file
  }
  throw new ProbeStop('NO_STAND_IN', `no ${names.join(' or ')} was found`, 'stand-in')
}

function withPath({ ctx: { resolution } }: CheckPorts, text: string): typeof resolution.given {
  return new Map([...resolution.given, ['PATH', { text, source: { kind: 'env', name: 'PATH' } } as const]])
}

async function usualFolders(): Promise<string[]> {
  const root = '/usr/lib/postgresql'
  const versions = await readdir(root).catch(() => [])
  const newest = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(root, version, 'bin'))
  return ['/usr/local/bin', '/usr/local/sbin', '/usr/bin', '/usr/sbin', ...newest]
}

function says(port: number, hello: string, expected: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.setTimeout(1_000, () => socket.destroy())
    if (hello !== '') socket.write(hello)
    socket.once('data', (data) => {
      resolve(data.toString('latin1').startsWith(expected))
      socket.destroy()
    })
    socket.once('error', () => undefined)
    socket.once('close', () => resolve(false))
  })
}
