// What only shows when a command begins to open things: a port that is taken, a data folder that is in use or damaged,
// a descriptor that is not one. Each is refused before anyone could connect; what is healthy starts.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { assemble } from '../../../scripts/assemble.ts'
import { productionEnvironment, strongSecret } from '../../support/environments.ts'
import { type Started, start, type Variables } from '../../support/launch/watched-command.ts'

const blockEmpty = join(import.meta.dirname, '../../../policies/block-empty.wasm')
const folder = mkdtempSync(join(tmpdir(), 'arqonbus-starts-'))
const started: Started[] = []
function run(program: 'bus' | 'shield', env: Variables): Started {
  const one = start(program, env, folder)
  started.push(one)
  return one
}
afterEach(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill('SIGTERM')
    await ended
  }
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
})

const freePorts = {
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
  SHIELD_PORT: '0',
  SHIELD_METRICS_PORT: '0',
}
const durable = { ...freePorts, ARQONBUS_ENABLE_PERSISTENCE: 'true', ARQONBUS_STORAGE_BACKEND: 'embedded' }
/** A port of this machine on which nothing listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('the bus', () => {
  it('starts with a healthy environment, and the note of listening is seen', async () => {
    const bus = run('bus', { ...durable, JWT_SECRET: strongSecret })
    await bus.until(/bus at ws:/)
    bus.child.kill('SIGTERM')
    expect(await bus.ended).toMatchObject({ code: 0, hasListened: true })
  })

  it('refuses a port that is taken, leaves none of the others open, and says which', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    const http = await closedPort()
    const env = { ...durable, ARQONBUS_SERVER_PORT: String(port), ARQONBUS_HTTP_PORT: String(http) }
    const { code, stdout, stderr } = await run('bus', env).ended
    holder.close()
    expect(code).toBe(69)
    expect(stdout).toBe('')
    expect(stderr).toContain('PORT_UNAVAILABLE')
    expect(stderr).toContain(`127.0.0.1:${port}`)
    await expect(once(connect(http, '127.0.0.1'), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('refuses a data folder that another bus has open, and leaves that one alone', async () => {
    const first = run('bus', durable)
    await first.until(/bus at ws:/)
    const { code, stdout, stderr, hasListened } = await run('bus', durable).ended
    expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
    expect(stderr).toMatch(/STORE_OPEN_FAILED \(LOCKED\): Another process has .* open/)
    expect(first.child.exitCode).toBeNull()
    first.child.kill('SIGTERM')
    expect(await first.ended).toMatchObject({ code: 0 })
  })

  it('refuses a damaged data folder', async () => {
    mkdirSync(join(folder, 'data', 'history'), { recursive: true })
    writeFileSync(join(folder, 'data', 'history', 'history.db'), Buffer.alloc(8_192, 0x5a))
    const { code, stdout, stderr, hasListened } = await run('bus', durable).ended
    expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
    expect(stderr).toMatch(/STORE_CORRUPT \(DAMAGED\): .*history\.db is damaged/)
  })
})

describe('Shield', () => {
  const development = { ...freePorts, JWT_SECRET: strongSecret }

  it('passes the rules with a healthy environment, and never listens without its bus', async () => {
    const NATS_URL = `nats://127.0.0.1:${await closedPort()}`
    const { code, stdout, stderr, hasListened } = await run('shield', { ...development, NATS_URL }).ended
    expect({ code, stdout, hasListened }).toEqual({ code: 69, stdout: '', hasListened: false })
    expect(stderr).toContain('LINK_UNAVAILABLE')
  })

  it('refuses a schema file that is not there', async () => {
    const env = { ...productionEnvironment, SHIELD_SCHEMA_FILE: join(folder, 'none.desc') }
    const { code, stderr, hasListened } = await run('shield', env).ended
    expect({ code, hasListened }).toEqual({ code: 78, hasListened: false })
    expect(stderr).toMatch(/SHIELD_SCHEMA_FILE: .* cannot be read/)
    expect(stderr).toContain('rule  meta.files-readable FILE_UNREADABLE')
  })

  it('refuses a policy that is no module, one without its export, and one that asks for too much memory', async () => {
    const check = '(func (export "policy_check") (param i32 i32) (result i32) (i32.const 0))'
    const files: Record<string, Uint8Array> = {
      'text.wasm': Buffer.from('(module)'),
      'deaf.wasm': await assemble('deaf', '(module (memory (export "memory") 1))'),
      'large.wasm': await assemble('large', `(module (memory (export "memory") 65) ${check})`),
    }
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes)
    const POLICY_WASM_PATH = Object.keys(files)
      .map((name) => join(folder, name))
      .join(',')
    const { code, stdout, stderr, hasListened } = await run('shield', { ...development, POLICY_WASM_PATH }).ended
    expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
    expect(stderr).toContain('Policy text.wasm is refused: it is no valid WebAssembly module')
    expect(stderr).toContain('Policy deaf.wasm is refused: it exports no function named "policy_check"')
    expect(stderr).toContain('its memory begins with 65 pages of 65536 bytes, at most 64')
    expect(stderr.match(/rule {2}shield\.policies-valid (\w+)/g)).toHaveLength(3)
  })

  it('refuses a policy that is not the pinned one, with both hashes', async () => {
    const bytes = readFileSync(blockEmpty)
    const found = createHash('sha256').update(bytes).digest('hex')
    const env = {
      ...development,
      POLICY_WASM_PATH: blockEmpty,
      SHIELD_POLICY_SHA256: `block-empty:${'ab'.repeat(32)}`,
    }
    const { code, stdout, stderr, hasListened } = await run('shield', env).ended
    expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
    expect(stderr).toContain(`block-empty is refused: its SHA-256 is ${found}, pinned is ${'ab'.repeat(32)}`)
    expect(stderr).toContain('rule  shield.policies-valid POLICY_HASH')
  })
})
