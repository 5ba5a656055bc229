// Starts the real programs with certificates that must not count, and notes how they end. Whatever they would do behind
// a gate that fails to hold, they cannot reach a service: every address is one that no name service knows.
import { spawn } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { digestOf } from '../../base/canonical-json.ts'
import { toIsoTime } from '../../base/clock.ts'
import type { StartedProgram } from '../../certificate/break-glass.ts'
import { buildOf } from '../../certificate/build.ts'
import { type Certificate, signCertificate } from '../../certificate/certificate.ts'
import { fingerprintAt } from '../../certificate/environment.ts'
import { installationKey } from '../../certificate/installation-key.ts'
import { exceptionsOf } from '../../certificate/start.ts'
import type { Environment } from '../../config/resolution.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { keyTextOf } from '../../waivers/sign.ts'
import { busyLane, compileCacheOf } from '../boot/candidate.ts'
import type { CheckPorts, JsonObject } from '../check.ts'

export type CertificateFault = 'missing' | 'stale' | 'tampered' | 'other-build'

/** What each has to be refused for. */
export const expectedCodes: Readonly<Record<CertificateFault, string>> = {
  missing: 'CERTIFICATE_UNREADABLE',
  stale: 'EXPIRED',
  tampered: 'BAD_SIGNATURE',
  'other-build': 'OTHER_BUILD',
}

/** Every fault at the bus; that the others ask at all, at each of them. */
export const certificateCases: readonly { readonly program: StartedProgram; readonly fault: CertificateFault }[] = [
  { program: 'bus', fault: 'missing' },
  { program: 'bus', fault: 'stale' },
  { program: 'bus', fault: 'tampered' },
  { program: 'bus', fault: 'other-build' },
  { program: 'shield', fault: 'stale' },
  { program: 'projector', fault: 'stale' },
]

const launcher = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
const startMs = 8_000

/** How each case ended: exit code, the mismatches that were named, and whether a socket was opened. */
export async function startUncertified(ports: CheckPorts, signal: AbortSignal): Promise<JsonObject[]> {
  const { ctx, clock } = ports
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-candidate-'))
  try {
    const data = join(folder, 'data')
    mkdirSync(data, { mode: 0o700 })
    const { privateKey } = generateKeyPairSync('ed25519')
    const env = {
      ...candidateEnvironment(ctx.resolution.given, data, keyTextOf(createPublicKey(privateKey))),
      NODE_COMPILE_CACHE: compileCacheOf(ports),
    }
    const good = await goodCertificate(env, privateKey, clock.now())
    const starts = certificateCases.map(({ program, fault }, index) =>
      busyLane(async (): Promise<JsonObject> => {
        signal.throwIfAborted()
        const path = join(folder, `${index}.json`)
        const certificate = faulty(good, fault, privateKey, clock.now())
        if (certificate !== undefined) writeFileSync(path, JSON.stringify(certificate))
        const end = await endOf(program, { ...env, ARQONBUS_PREFLIGHT_CERTIFICATE: path }, folder, signal)
        return { program, fault, ...end }
      }),
    )
    return await Promise.all(starts)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Declared overrides: where it keeps things, whose certificates count, and services that do not exist. */
function candidateEnvironment(
  given: CheckPorts['ctx']['resolution']['given'],
  data: string,
  publicKey: string,
): Environment {
  const own = [...given]
    .filter(([, { source }]) => source.kind === 'env')
    .map(([name, { text }]) => [name, text] as const)
  const { ARQONBUS_PREFLIGHT_BREAK_GLASS: _, ARQONBUS_PREFLIGHT_PERMIT_FD: __, ...rest } = Object.fromEntries(own)
  const { ARQONBUS_REDIS_URL: ___, ...without } = rest
  return {
    ...without,
    ARQONBUS_DATA_DIR: data,
    ARQONBUS_PREFLIGHT_PUBLIC_KEY: publicKey,
    ARQONBUS_VALKEY_URL: 'rediss://preflight.invalid:6379/0',
    ARQONBUS_POSTGRES_URL: 'postgresql://preflight@preflight.invalid:5432/preflight?sslmode=verify-full',
    NATS_URL: 'tls://preflight.invalid:4222',
  }
}

/** Nothing is wrong with it: each faulty one differs from it in its fault alone. */
async function goodCertificate(env: Environment, key: KeyObject, now: number): Promise<Certificate> {
  const resolution = resolveKeys(env)
  const fingerprint = fingerprintAt(resolution, installationKey)
  if ('because' in fingerprint) throw new Error(fingerprint.because) // it was made a line ago
  const { policy } = await exceptionsOf(resolution)
  return signCertificate(
    {
      verdict: 'GO',
      profile: resolution.profile,
      report: digestOf('no report'),
      commit: '0'.repeat(40),
      build: buildOf(),
      environment: { source: 'process', ...fingerprint },
      policy: digestOf(policy ?? 'unreadable'),
      waivers: [],
      issued: toIsoTime(now),
      activateBy: toIsoTime(now + 600_000),
    },
    key,
  )
}

function faulty(good: Certificate, fault: CertificateFault, key: KeyObject, now: number): Certificate | undefined {
  const { schema: _, key: __, sig: ___, ...body } = good
  switch (fault) {
    case 'missing':
      return undefined
    case 'stale':
      return signCertificate(
        { ...body, issued: toIsoTime(now - 7_200_000), activateBy: toIsoTime(now - 3_600_000) },
        key,
      )
    case 'tampered':
      return { ...good, activateBy: toIsoTime(now + 86_400_000) }
    case 'other-build':
      return signCertificate({ ...body, build: { ...body.build, artefact: digestOf('another build') } }, key)
  }
}

/** Preloaded: says on standard error when a socket is opened, however briefly. */
const noteSockets = `import net from 'node:net'
for (const [holder, name] of [[net.Server.prototype, 'listen'], [net.Socket.prototype, 'connect']]) {
  const real = holder[name]
  holder[name] = function (...args) { process.stderr.write('NOTE ' + name + '\\n'); return real.apply(this, args) }
}`

const codeForm = /^ {2}([A-Z][A-Z_]+): /gm

async function endOf(
  program: StartedProgram,
  env: Environment,
  cwd: string,
  signal: AbortSignal,
): Promise<{ exit: number; named: string[]; opened: string[] }> {
  const preload = `data:text/javascript,${encodeURIComponent(noteSockets)}`
  const child = spawn(process.execPath, ['--import', preload, launcher, program], {
    cwd,
    env: { ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const kill = (): void => void child.kill('SIGKILL')
  const timer = setTimeout(kill, startMs)
  signal.addEventListener('abort', kill, { once: true })
  let text = ''
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const exit = await new Promise<number>((resolve) => {
    child.on('error', () => resolve(-1))
    child.on('close', (code) => resolve(code ?? -1))
  })
  clearTimeout(timer)
  signal.removeEventListener('abort', kill)
  // Of the block about the certificate alone: start-up rules have one of their own.
  const block = text.slice(Math.max(0, text.indexOf('no GO certificate')))
  return {
    exit,
    named: text.includes('no GO certificate') ? [...block.matchAll(codeForm)].map((match) => match[1]!) : [],
    opened: [...new Set([...text.matchAll(/^NOTE (listen|connect)$/gm)].map((match) => match[1]!))].sort(),
  }
}
