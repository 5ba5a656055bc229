// Hot state between whole programs: buses that share a Valkey and die, the command that revokes, and Shield.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Role } from '../../../src/auth/identity.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { compiled } from '../../support/compiled.ts'
import { strongSecret } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { type LaunchedProgram, launchBus, runToEnd } from '../../support/launch/launch-linked.ts'
import { createTempDir, launchUp, removeTempDir } from '../../support/launch/launch-up.ts'
import { dataOf, WireClient } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerOptions } from '../../support/servers/valkey-server.ts'

const revokedCode = 4403
const leaseMs = 10_000
const env = { ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: strongSecret }
const arqonbus = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))

const tokenOf = (subject: string, role: Role = 'user', tenant = 'acme'): Promise<string> =>
  mintToken({ secret: strongSecret, subject, role, tenant, ttlSeconds: 600 })

async function valkey(options?: ValkeyServerOptions) {
  const server = await startValkeyServer(options)
  onTestFinished(() => server.close())
  return server
}

async function bus(valkeyUrl: string): Promise<LaunchedProgram> {
  const program = await launchBus({ ...env, ARQONBUS_VALKEY_URL: valkeyUrl })
  onTestFinished(() => program.kill())
  return program
}

async function connect(url: string, token: string): Promise<WireClient> {
  const client = await WireClient.connect(url, { token })
  onTestFinished(() => client.terminate())
  return client
}

async function membersSeen(client: WireClient): Promise<number> {
  return Number(dataOf(await client.command('presence', { room: 'lab', channel: 'general' }))['member_count'])
}

async function until(isSo: () => Promise<boolean>, withinMs: number): Promise<number> {
  const fromMs = performance.now()
  while (!(await isSo())) {
    if (performance.now() - fromMs > withinMs) throw new Error(`not so within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return performance.now() - fromMs
}

async function run(args: readonly string[], variables: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, [arqonbus, ...args], {
    env: { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: compiled, ...variables },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, output }
}

describe.skipIf(skipWithout('valkey'))('on a real Valkey', () => {
  test('the members of a bus that is killed vanish with its lease; values stay', async () => {
    const { url } = await valkey()
    const [one, two] = await Promise.all([bus(url), bus(url)])
    const watcher = await connect(two.url, await tokenOf('watcher'))
    for (let n = 0; n < 10; n++) {
      const client = await connect(one.url, await tokenOf(`user-${n}`))
      await client.join('lab', 'general')
      if (n === 0) await client.command('op.store.set', { key: 'kept', value: 7 })
    }
    await until(async () => (await membersSeen(watcher)) === 10, 5_000)
    await one.kill()
    expect(await membersSeen(watcher)).toBe(10) // nobody has said that they are gone
    const goneMs = await until(async () => (await membersSeen(watcher)) === 0, leaseMs + 2_000)
    expect(goneMs).toBeLessThanOrEqual(leaseMs + 500)
    expect(dataOf(await watcher.command('op.store.get', { key: 'kept' }))).toMatchObject({ value: 7 })
  })

  test('`token revoke` ends sessions at every bus, and says what an operator has to know when it may not', async () => {
    const { url } = await valkey()
    const [one, two] = await Promise.all([bus(url), bus(url)])
    const [alice, bob] = [await connect(two.url, await tokenOf('alice')), await connect(two.url, await tokenOf('bob'))]
    const revoke = async (args: readonly string[], token: Promise<string>) =>
      await run(['token', 'revoke', '--url', one.url, ...args], { ARQONBUS_AUTH_JWT: await token })

    const denied = await revoke(['--subject', 'alice'], tokenOf('bob'))
    expect(denied).toMatchObject({ code: 77, output: expect.stringContaining('AUTHORIZATION_ERROR') })
    expect((await revoke([], tokenOf('chief', 'admin'))).code).toBe(64)
    const done = await revoke(['--subject', 'alice'], tokenOf('chief', 'admin'))
    expect(done).toMatchObject({ code: 0, output: expect.stringMatching(/^revoked: alice of acme, until 2\S+Z\n$/) })
    expect((await alice.closed).code).toBe(revokedCode)
    expect((await bob.command('ping')).status).toBe('success')
    const all = await revoke(['--tenant', 'acme', '--everyone', '--json'], tokenOf('root', 'operator', '*'))
    expect(JSON.parse(all.output)).toMatchObject({ tenant_id: 'acme', subject: null })
    expect((await bob.closed).code).toBe(revokedCode)
  })

  test('a strict start without it ends with 69, a degraded one goes on; a wrong password ends both with 77', async () => {
    const [port] = (await findFreePorts(1)) as [number]
    const server = await valkey({ password: 'right-password-right' })
    const given = {
      ...env,
      ARQONBUS_SERVER_PORT: '0',
      ARQONBUS_HTTP_PORT: '0',
      ARQONBUS_ENABLE_TELEMETRY: 'false',
      ARQONBUS_VALKEY_URL: `redis://:hidden-password@127.0.0.1:${port}`,
    }
    const away = await runToEnd('bus', { ...given, ARQONBUS_STORAGE_MODE: 'strict' })
    expect(away).toMatchObject({ code: 69, stderr: expect.stringContaining(`127.0.0.1:${port}`) })
    expect(away.stderr).not.toContain('hidden-password')
    for (const mode of ['strict', 'degraded']) {
      const url = `redis://:hidden-password@127.0.0.1:${server.port}`
      const denied = await runToEnd('bus', { ...given, ARQONBUS_STORAGE_MODE: mode, ARQONBUS_VALKEY_URL: url })
      expect(denied.code).toBe(77)
      expect(denied.stderr).not.toContain('hidden-password')
    }
    const degraded = await bus(`redis://127.0.0.1:${port}`)
    const ready = await fetch(`${degraded.httpUrl}/ready`)
    expect(ready.status).toBe(200)
    expect(await ready.json()).toMatchObject({ status: 'degraded' })
  })
})

test('a revocation ends sessions behind Shield, and their tokens open none there, also after kill -9', async () => {
  const dataDir = await createTempDir()
  onTestFinished(() => removeTempDir(dataDir))
  const up = await launchUp({ dataDir, env: { JWT_SECRET: strongSecret } })
  onTestFinished(() => up.kill())
  const [alice, bob, chief] = [
    await connect(up.shieldUrl, await tokenOf('alice')),
    await connect(up.shieldUrl, await tokenOf('bob')),
    await connect(up.shieldUrl, await tokenOf('chief', 'admin')),
  ]
  expect((await chief.command('auth.revoke', { subject: 'alice' })).status).toBe('success')
  expect((await alice.closed).code).toBe(revokedCode)
  await expect(connect(up.shieldUrl, await tokenOf('alice'))).rejects.toThrow(String(revokedCode))
  expect((await bob.command('ping')).status).toBe('success')
  await up.kill()
  const again = await launchUp({ dataDir, env: { JWT_SECRET: strongSecret } })
  onTestFinished(() => again.kill())
  await expect(connect(again.shieldUrl, await tokenOf('alice'))).rejects.toThrow(String(revokedCode))
  await connect(again.shieldUrl, await tokenOf('bob'))
})
