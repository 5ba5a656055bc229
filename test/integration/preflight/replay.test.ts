// A run against real servers, judged again when they are gone: by another process, without an environment, elsewhere.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { formatText } from '../../../src/preflight/format-text.ts'
import { verifyBundle } from '../../../src/preflight/incident/bundle.ts'
import { packFiles, unpackFiles } from '../../../src/preflight/incident/archive.ts'
import { runWithIncident } from '../../../src/preflight/incident/incident.ts'
import { parseRecord, type RunRecord } from '../../../src/preflight/replay/record.ts'
import { replayRecord } from '../../../src/preflight/replay/replay.ts'
import { readHistory } from '../../../src/preflight/replay/history.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { keyTextOf } from '../../../src/waivers/sign.ts'
import { certifier, otherCertifier, pinned } from '../../support/certificates-go.ts'
import { startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'
import { runCommand } from '../../support/run-command.ts'
import { resultOf, wordOf } from '../../support/preflight-run.ts'

const program = fileURLToPath(new URL('../../../src/bin/arqonbus.ts', import.meta.url))
const secret = 'correct-horse-battery-staple-4711-correct-horse-battery'
const password = 'a-password-of-valkey-0815'
const ids = (replayed: { differing: readonly { id: string }[] }): string[] => replayed.differing.map(({ id }) => id)

describe.skipIf(skipWithout('valkey', 'nats'))('a NO-GO against real servers', () => {
  const root = mkdtempSync(join(tmpdir(), 'arqonbus-replay-'))
  const dataDir = join(root, 'data')
  const recording = join(root, 'run.json')
  let report: Report
  let record: RunRecord
  let bundle: string

  beforeAll(async () => {
    mkdirSync(dataDir)
    const valkey = await startValkeyServer({
      password,
      settings: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' },
    })
    const nats = await startNatsServer()
    const request = {
      argv: ['arqonbus', 'preflight'],
      cwd: root,
      env: { PATH: process.env['PATH'] },
      format: formatText,
    }
    const env = {
      ARQONBUS_ENVIRONMENT: 'staging',
      ARQONBUS_DATA_DIR: dataDir,
      ARQONBUS_SERVER_HOST: '127.0.0.1',
      ARQONBUS_STORAGE_MODE: 'degraded',
      ARQONBUS_VALKEY_URL: `redis://:${password}@127.0.0.1:${valkey.port}/0`,
      NATS_URL: nats.url,
      JWT_SECRET: secret,
    }
    try {
      report = await runWithIncident(
        { env, phases: ['static', 'deps'] },
        { ...request, record: recording, signWith: certifier },
      )
    } finally {
      await valkey.kill()
      await nats.kill()
    }
    bundle = report.observations.incident!.bundle!.path
    record = parseRecord(readFileSync(recording, 'utf8'))
  }, 60_000)
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  /** Nothing of this process: no environment, another folder, no service left. */
  function replay(path: string, ...more: string[]): { exit: number | null; out: string } {
    const cwd = mkdtempSync(join(root, 'elsewhere-'))
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'preflight', 'replay', path, ...more], {
      cwd,
      env: {},
      encoding: 'utf8',
    })
    return { exit: status, out: `${stdout}${stderr}` }
  }

  it('had reached them, and found what is wrong there', () => {
    expect(report.canonical.verdict).toBe('NO-GO')
    expect(wordOf(report, 'dep.valkey.roundtrip')).toBe('pass')
    expect(wordOf(report, 'dep.nats.connect')).toBe('pass')
    expect(wordOf(report, 'dep.valkey.eviction')).toMatch(/^fail /)
  })

  it.each([['bundle'], ['recording']])('has the same digest from its %s, without services or environment', (from) => {
    const { exit, out } = replay(from === 'bundle' ? bundle : recording)
    expect(out).toContain(`equal    ${report.digest}`)
    expect(out).toContain(`signed by ${pinned}, whoever holds that key`)
    expect(exit).toBe(0)
    expect(out).toContain('as recorded  shield.jwt-secret-strong: needs JWT_SECRET')
  })

  it('counts for whoever asks for the key that signed it, and for no other (65)', async () => {
    expect(replay(recording, '--public-key', pinned)).toMatchObject({
      exit: 0,
      out: expect.stringContaining(`signed by ${pinned}, as asked for`),
    })
    const other = keyTextOf(otherCertifier)
    expect(replay(recording, '--public-key', other)).toMatchObject({
      exit: 65,
      out: expect.stringContaining(`it was signed by ${pinned}`),
    })
    const { signature: _, ...unsigned } = record
    const path = join(root, 'unsigned.json')
    writeFileSync(path, JSON.stringify(unsigned))
    expect(replay(path)).toMatchObject({ exit: 0, out: expect.stringContaining('\nunsigned ') })
    expect(replay(path, '--public-key', pinned)).toMatchObject({
      exit: 65,
      out: expect.stringContaining('nobody signed it'),
    })
    expect((await runCommand(['preflight', 'replay', path, '--public-key', 'rsa:AAAA'], {})).exitCode).toBe(64)
  })

  it.each<[string, (changed: RunRecord) => object]>([
    ['another digest', (changed) => ({ ...changed, digest: `sha256:${'0'.repeat(64)}` })],
    ['one more field', (changed) => ({ ...changed, note: 'harmless' })],
    [
      'the key of another',
      (changed) => ({ ...changed, signature: { ...changed.signature, key: keyTextOf(otherCertifier) } }),
    ],
    ['an empty signature', (changed) => ({ ...changed, signature: {} })],
    ['no signature in its place', (changed) => ({ ...changed, signature: null })],
  ])('is refused with %s: the signature does not hold', async (_what, change) => {
    const path = join(root, 'changed.json')
    writeFileSync(path, JSON.stringify(change(structuredClone(record))))
    for (const command of [
      ['replay', path],
      ['diff', path, path],
    ]) {
      expect(await runCommand(['preflight', ...command], {})).toMatchObject({ exitCode: 65 })
    }
  })

  it('is refused in a bundle that expects another digest than was signed', async () => {
    const files = await unpackFiles(readFileSync(bundle))
    files.set('replay/expected-digest', Buffer.from(`sha256:${'0'.repeat(64)}\n`))
    const path = join(root, 'expects.tar.gz')
    writeFileSync(path, await packFiles(files, 'preflight-incident-expects'))
    const expects = replay(path)
    expect(expects).toEqual({ exit: 65, out: expect.stringContaining('not that of the signed recording') })
  })

  it.each<[string, (files: Map<string, Buffer>) => void, string]>([
    [
      'a file that was changed',
      (files) => files.set('report/report.json', Buffer.from(`${files.get('report/report.json')!.toString('utf8')}\n`)),
      'report/report.json is not as MANIFEST.json has it',
    ],
    [
      'a list that was changed',
      (files) => {
        const list = JSON.parse(files.get('MANIFEST.json')!.toString('utf8')) as object
        files.set('MANIFEST.json', Buffer.from(JSON.stringify({ ...list, verdict: 'GO' })))
      },
      'the signature of MANIFEST.json does not hold',
    ],
  ])('is refused in a signed bundle with %s', async (_what, change, why) => {
    expect(await verifyBundle(readFileSync(bundle))).toMatchObject({ signature: { key: pinned } })
    const files = new Map(await unpackFiles(readFileSync(bundle)))
    change(files)
    const archive = await packFiles(files, 'preflight-incident-changed')
    await expect(verifyBundle(archive)).rejects.toThrow(why)
    const path = join(root, 'changed.tar.gz')
    writeFileSync(path, archive)
    const { exitCode, notes } = await runCommand(['preflight', 'diff', path, path], {})
    expect({ exitCode, notes: notes.join('\n') }).toEqual({ exitCode: 65, notes: expect.stringContaining(why) })
  })

  it('holds no secret, and is for its owner only', () => {
    const text = readFileSync(recording, 'utf8')
    expect([secret, password].filter((value) => text.includes(value))).toEqual([])
    expect(statSync(recording).mode & 0o777).toBe(0o600)
  })

  it('judges most checks anew, and those of secrets not', async () => {
    const { rejudged, notRejudged } = (await replayRecord(record)).report.observations.replay!
    expect(rejudged.length).toBeGreaterThan(30)
    expect(rejudged).toContain('dep.valkey.eviction')
    const kept = notRejudged.map(({ id }) => id)
    expect(kept).toContain('shield.jwt-secret-not-default')
    expect(kept.filter((id) => rejudged.includes(id))).toEqual([])
  })

  it('names the check whose answer was tampered with (50)', async () => {
    const files = await unpackFiles(readFileSync(bundle))
    const changed = structuredClone(parseRecord(files.get('replay/inputs.json')!.toString('utf8')))
    const answer = changed.checks.find(({ head }) => head.id === 'dep.valkey.eviction')!.answer as { facts: object }
    const healthy = createCatalogue().find(({ id }) => id === 'dep.valkey.eviction')!.worlds.passes[0]!.facts!
    Object.assign(answer, { facts: healthy })
    Object.assign(changed, { signature: undefined }) // whoever tampers takes it away
    files.set('replay/inputs.json', Buffer.from(JSON.stringify(changed)))
    const { signature: _, ...list } = JSON.parse(files.get('MANIFEST.json')!.toString('utf8')) as { signature: object }
    files.set('MANIFEST.json', Buffer.from(JSON.stringify(list)))
    const path = join(root, 'tampered.tar.gz')
    writeFileSync(path, await packFiles(files, 'preflight-incident-tampered'))
    const { exit, out } = replay(path)
    expect(exit).toBe(50)
    expect(out).toMatch(/dep\.valkey\.eviction: fail \w+ -> pass/)
    expect(out).toContain('replay/inputs.json is not as MANIFEST.json has it')
  })

  it('names a rule about a secret whose recorded judgement was tampered with, and sees a changed report', async () => {
    const changed = structuredClone(record)
    const rule = changed.checks.find(({ head }) => head.id === 'shield.jwt-secret-strong')!
    expect(rule.judged!.status).toBe('pass')
    const fail = { status: 'fail', findings: [{ code: 'WEAK', variable: 'JWT_SECRET', found: '', fix: '' }] }
    Object.assign(rule, { judged: fail })
    expect(ids(await replayRecord(changed))).toContain('shield.jwt-secret-strong')

    const other = structuredClone(record)
    Object.assign(other.canonical, { verdict: 'GO' })
    const replayed = await replayRecord(other)
    expect({ isEqual: replayed.isEqual, parts: replayed.parts }).toEqual({ isEqual: false, parts: ['verdict'] })
  })

  it('tells what another value of a public variable would have changed, and refuses secrets', async () => {
    expect(resultOf(report, 'bus.storage-mode-strict').status).toBe('fail')
    const { exit, out } = replay(recording, '--set', 'ARQONBUS_STORAGE_MODE=strict')
    expect(exit).toBe(50)
    expect(out).toMatch(/bus\.storage-mode-strict: fail \w+ -> pass/)
    expect(ids(await replayRecord(record, { changes: { ARQONBUS_STORAGE_MODE: 'strict' } }))).not.toContain(
      'shield.jwt-secret-strong',
    )
    expect(replay(recording, '--set', 'JWT_SECRET=another').exit).toBe(64)
  })

  it('leaves checks that are new since unproved, or out with --as-recorded', async () => {
    const current = createCatalogue()
    const extra = { ...current[0]!, id: 'meta.new-since', requires: [] }
    const replayed = await replayRecord(record, { catalogue: [...current, extra] })
    expect(wordOf(replayed.report, 'meta.new-since')).toBe('not-selected')
    expect(replayed.parts).toContain('catalogue')
    expect(replayed.isEqual).toBe(false)
    const asThen = await replayRecord(record, { catalogue: [...current.slice(1), extra], asRecorded: true })
    expect(asThen.isEqual).toBe(true)
  })

  it.each([['no gzip'], ['{}'], ['{"schema":"arqonbus/preflight-record/1.0"}']])('refuses %s (65)', async (text) => {
    const path = join(root, 'broken')
    writeFileSync(path, text)
    expect((await runCommand(['preflight', 'replay', path], {})).exitCode).toBe(65)
  })

  it('stands in the history, and compares with itself', async () => {
    expect(readHistory(dataDir).map(({ digest }) => digest)).toEqual([report.digest])
    const same = await runCommand(['preflight', 'diff', bundle, bundle], {})
    expect({ exit: same.exitCode, last: same.out.at(-1) }).toEqual({ exit: 0, last: 'equal   exit 0' })
    // Nothing was green yet.
    const since = await runCommand(['preflight', 'diff', '--since', 'last-green'], { ARQONBUS_DATA_DIR: dataDir })
    expect(since.exitCode).toBe(65)
  })
})
