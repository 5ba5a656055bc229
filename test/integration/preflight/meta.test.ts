// The lock of a run between real processes and real runs; the dates of the runbook against the real repository.
import { type ChildProcess, spawn } from 'node:child_process'
import { on, once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { healthyEnvironment } from '../../../src/preflight/healthy-world.ts'
import { createMetaChecks } from '../../../src/preflight/meta/meta-checks.ts'
import { type Holder, lockName, takeLock } from '../../../src/preflight/meta/run-lock.ts'
import type { Report } from '../../../src/preflight/report.ts'
import type { PreflightInputs, PreflightPorts } from '../../../src/preflight/inputs.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { createRuleContext } from '../../../src/rules/context.ts'

let folder = ''
const children: ChildProcess[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-lock-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

const env = { ...healthyEnvironment, ARQONBUS_ENVIRONMENT: 'staging' }
const name = lockName(createRuleContext(env))
const program = fileURLToPath(new URL('../../support/lock-child.ts', import.meta.url))

/** A process that waits to be told to take the lock. */
async function contender(runId: string) {
  const child = spawn(process.execPath, [program, folder, name, runId], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const lines = on(createInterface(child.stdout!), 'line')
  const next = async (): Promise<string> => ((await lines.next()).value as [string])[0]
  expect(await next()).toBe('ready')
  return {
    pid: child.pid!,
    async take(): Promise<string> {
      child.stdin!.write('go\n')
      return await next()
    },
    async kill(): Promise<void> {
      const closed = once(child, 'close')
      child.kill('SIGKILL')
      await closed
    },
  }
}

async function run(inputs: Partial<PreflightInputs> = {}, ports: PreflightPorts = {}): Promise<Report> {
  return await runPreflight(
    { env, only: ['meta.lock'], ...inputs },
    { catalogue: createMetaChecks(() => [], { lockFolder: folder }), localAddresses: [], ...ports },
  )
}

const resultOf = ({ canonical, observations }: Report) => {
  const result = canonical.results.find(({ id }) => id === 'meta.lock')!
  const seen = observations.results['meta.lock']!
  return {
    status: result.status,
    code: result.status === 'fail' ? result.findings[0]?.code : result.status === 'error' ? result.code : undefined,
    found: seen.findings?.[0]?.found ?? seen.observed,
    attempts: seen.attempts?.length ?? 1,
  }
}

describe('meta.lock', () => {
  it('holds the lock during the run and gives it back, also when the run fails', async () => {
    const during: string[][] = []
    const progress = { write: () => void during.push(readdirSync(folder)) }
    expect(resultOf(await run({}, { progress })).status).toBe('pass')
    expect(during).toContainEqual([name])
    expect(readdirSync(folder)).toEqual([])
    await run({ env: { ...env, JWT_SECRET: undefined } })
    expect(readdirSync(folder)).toEqual([])
  })

  it('names the run and process that have it', async () => {
    const other = await contender('other')
    expect(await other.take()).toBe('taken')
    const { status, code, found } = resultOf(await run())
    expect({ status, code }).toEqual({ status: 'fail', code: 'RUN_LOCKED' })
    expect(found).toContain(`run other, process ${other.pid}`)
    // It was not ours to give back.
    expect(readdirSync(folder)).toEqual([name])
  })

  it('waits for the other run, with --wait', async () => {
    const other = await contender('other')
    expect(await other.take()).toBe('taken')
    let looks = 0
    const clock: Clock = {
      ...systemClock,
      now() {
        // The first is the start of the run, the second the first look.
        if (++looks === 3) void other.kill()
        return systemClock.now()
      },
    }
    const { status, attempts } = resultOf(await run({ waitMs: 20_000, now: systemClock.now() }, { clock }))
    expect(status).toBe('pass')
    expect(attempts).toBeGreaterThan(1)
  })

  it('takes over from a process that was killed', async () => {
    const other = await contender('other')
    expect(await other.take()).toBe('taken')
    await other.kill()
    expect(readdirSync(folder)).toEqual([name])
    expect(resultOf(await run()).status).toBe('pass')
    expect(readdirSync(folder)).toEqual([])
  })

  it('gives a lock that was left behind to exactly one of four', async () => {
    const dead = await contender('dead')
    expect(await dead.take()).toBe('taken')
    await dead.kill()
    const four = await Promise.all(['a', 'b', 'c', 'd'].map(contender))
    const results = await Promise.all(four.map((one) => one.take()))
    expect(results.sort()).toEqual(['lost', 'lost', 'lost', 'taken'])
    expect(readdirSync(folder)).toEqual([name])
  })

  it('tells a process from a later one with its number, and other machines by age', () => {
    const now = Date.now()
    const own = takeLock(folder, name, 'own', now)
    expect(own).toHaveProperty('release')
    const path = join(folder, name)
    const mine = JSON.parse(readFileSync(path, 'utf8')) as Holder
    const heldAgainst = (holder: Partial<Holder>): boolean => {
      writeFileSync(path, JSON.stringify({ ...mine, ...holder }))
      const lock = takeLock(folder, name, 'next', now)
      if ('release' in lock) lock.release()
      return 'heldBy' in lock
    }
    expect(mine.processStart).toBeGreaterThan(0)
    expect(heldAgainst({})).toBe(true)
    expect(heldAgainst({ processStart: mine.processStart + 1 })).toBe(false)
    expect(heldAgainst({ host: `not-${hostname()}` })).toBe(true)
    expect(heldAgainst({ host: `not-${hostname()}`, since: now - 61 * 60_000 })).toBe(false)
  })

  it('follows no link and trusts no text that stands in its place', async () => {
    const target = join(folder, 'precious')
    writeFileSync(target, 'precious')
    symlinkSync(target, join(folder, name))
    expect(resultOf(await run())).toMatchObject({ status: 'fail', code: 'RUN_LOCKED' })
    expect(readFileSync(target, 'utf8')).toBe('precious')
    rmSync(join(folder, name))
    writeFileSync(join(folder, name), '{"pid":1}')
    expect(resultOf(await run())).toMatchObject({ status: 'fail', code: 'RUN_LOCKED' })
  })

  it('says so where no lock can be written', async () => {
    const ports = { catalogue: createMetaChecks(() => [], { lockFolder: join(folder, 'none') }), localAddresses: [] }
    expect(resultOf(await run({}, ports))).toMatchObject({ status: 'error', code: 'LOCK_UNWRITABLE' })
  })

  it('is named after the services, and neither after passwords nor after what does not matter', () => {
    const nameOf = (more: object): string => lockName(createRuleContext({ ...env, ...more }))
    expect(nameOf({ ARQONBUS_VALKEY_URL: 'rediss://arqon:another@valkey.internal:6379/0' })).toBe(name)
    expect(nameOf({ ARQONBUS_LOG_LEVEL: 'debug' })).toBe(name)
    expect(nameOf({ ARQONBUS_VALKEY_URL: 'rediss://arqon:a-password@other.internal:6379/0' })).not.toBe(name)
    expect(nameOf({ ARQONBUS_SERVER_PORT: '9101' })).not.toBe(name)
  })
})

describe('the runbook of this repository', () => {
  it('is older than the migration it names, which is what the check is there to say', async () => {
    const report = await run({ only: ['meta.runbook-dated'] })
    const result = report.canonical.results.find(({ id }) => id === 'meta.runbook-dated')!
    expect(result).toMatchObject({ status: 'fail', severity: 'advisory' })
    expect(result.status === 'fail' && result.findings.map(({ code }) => code)).toContain('OLDER_THAN_NAMED')
  })
})
