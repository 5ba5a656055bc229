// Runs that fail, against a port that really refuses: their bundles, their tickets at a real receiver, and no secret in
// anything that leaves the run.
import { spawn } from 'node:child_process'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { canonicalJson, digestOf } from '../../../src/base/canonical-json.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { formatJson } from '../../../src/preflight/format-json.ts'
import { formatText } from '../../../src/preflight/format-text.ts'
import { unpackFiles } from '../../../src/preflight/incident/archive.ts'
import { verifyBundle } from '../../../src/preflight/incident/bundle.ts'
import { openCommandSpool } from '../../../src/preflight/incident/commands.ts'
import { type IncidentRequest, runWithIncident } from '../../../src/preflight/incident/incident.ts'
import { createProber } from '../../../src/preflight/prober.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { checkPortsOf } from '../../../src/preflight/ports.ts'
import type { PreflightInputs } from '../../../src/preflight/inputs.ts'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { parseTargets } from '../../../src/preflight/targets.ts'
import { compiled } from '../../support/compiled.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { runCommand } from '../../support/run-command.ts'
import { keyTextOf } from '../../../src/waivers/sign.ts'
import { plantedSecrets, printedForms } from '../../support/planted-secrets.ts'

const root = mkdtempSync(join(tmpdir(), 'arqonbus-incident-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const newFolder = (): string => {
  const folder = join(root, String(++folders))
  mkdirSync(folder)
  return folder
}

/** A port on which nobody listens any more. */
async function refusedPort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const tools = { PATH: process.env['PATH'] ?? '', HOME: root }
const planted = Object.fromEntries(plantedSecrets.map(({ name, value }) => [name, value]))

/** A staging run whose live checks find nobody there. */
async function failingInputs(dataDir: string, env: Record<string, string> = {}): Promise<PreflightInputs> {
  const port = await refusedPort()
  return {
    env: { ARQONBUS_ENVIRONMENT: 'staging', ARQONBUS_DATA_DIR: dataDir, ...env },
    // Nothing is started for proof: each start takes a second.
    phases: ['static', 'deps', 'live'],
    keepGoing: true,
    targets: parseTargets(`bus=ws://127.0.0.1:${port},http=http://127.0.0.1:${port}`),
  }
}

const requestIn = (cwd: string, more: Partial<IncidentRequest> = {}): IncidentRequest => ({
  argv: ['arqonbus', 'preflight'],
  cwd,
  env: tools,
  format: formatText,
  ...more,
})

const bundlesIn = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith('.tar.gz'))
const bundleOf = (report: Report): Promise<Map<string, Buffer>> =>
  unpackFiles(readFileSync(report.observations.incident!.bundle!.path))

describe('a run that fails', () => {
  it('leaves a bundle that holds what the runbook asks for', async () => {
    const cwd = newFolder()
    const report = await runWithIncident(await failingInputs(cwd), requestIn(cwd))
    expect(report.canonical.verdict).toBe('NO-GO')
    const { bundle, findings, notes } = report.observations.incident!
    expect({ findings, notes }).toEqual({ findings: [], notes: [] })
    expect(bundle!.path).toMatch(/\/incidents\/preflight-incident-[0-9a-f]{7}-[0-9a-f]{16}\.tar\.gz$/)
    expect(statSync(bundle!.path).mode & 0o777).toBe(0o600)
    const files = await bundleOf(report)
    expect(files.size).toBe(bundle!.files)
    const text = (path: string): string => files.get(path)!.toString('utf8')
    const json = (path: string): unknown => JSON.parse(text(path))
    const manifest = await verifyBundle(readFileSync(bundle!.path))
    expect(manifest).toMatchObject({ verdict: 'NO-GO', label: 'blocker', digest: report.digest })
    expect(text('git/commit')).toBe(`${manifest.commit}\n`)
    expect(json('commands/000-preflight/argv.json')).toEqual(['arqonbus', 'preflight'])
    expect(json('commands/000-preflight/exit.json')).toMatchObject({ exit: 20 })
    expect(text('commands/000-preflight/stdout.txt')).toContain('NO-GO')
    expect(text('probes/live.bus-health.json')).toMatch(/"answer": \{[\s\S]*"code": "ECONNREFUSED"/)
    expect(json('env/snapshot.json')).toMatchObject({ variables: { ARQONBUS_ENVIRONMENT: { value: 'staging' } } })
    expect(json('env/provenance.json')).toMatchObject({ ARQONBUS_ENVIRONMENT: 'env ARQONBUS_ENVIRONMENT' })
    expect(json('ROUTE.json')).toMatchObject({ label: 'blocker', owner: 'engineering' })
    expect(text('SUMMARY.md')).toContain('# Preflight NO-GO')
    expect(json('INCOMPLETE.json')).toEqual([])
    // What was judged is what is in there: redaction changed no digest.
    expect(digestOf(json('report/canonical.json'))).toBe(report.digest)
    expect(text('report/canonical.json')).toBe(canonicalJson(report.canonical))
    expect(text('replay/expected-digest')).toBe(`${report.digest}\n`)
    expect(formatText(report)).toContain(`bundle   ${bundle!.path}   ${bundle!.files} files`)
  })

  it('is compared with the run that was green last', async () => {
    const cwd = newFolder()
    const run = (env: Record<string, string>, only: string) =>
      runWithIncident(
        { env: { ...productionEnvironment, ARQONBUS_DATA_DIR: cwd, ...env }, only: [only] },
        requestIn(cwd),
      )
    const id = 'shield.jwt-skip-absent'
    const comparedIn = async (report: Report) => {
      const files = await bundleOf(report)
      return {
        json: JSON.parse(files.get('compare/diff-vs-last-green.json')!.toString()),
        summary: files.get('SUMMARY.md')!.toString(),
      }
    }
    const first = await comparedIn(await run({ JWT_SKIP_VALIDATION: '' }, id))
    expect(first.json).toEqual({ green: null, why: 'no run of prod was green here yet' })
    expect(first.summary).not.toContain('Since it was green')
    expect(first.summary).toContain('This bundle is not signed.')
    const green = await run({ JWT_ISSUER: 'old' }, id)
    expect(green.canonical.rootCauses).toEqual([])
    const failed = await run({ JWT_SKIP_VALIDATION: '1', JWT_ISSUER: 'new' }, id)
    const { json, summary } = await comparedIn(failed)
    expect(json).toMatchObject({
      green: { digest: green.digest, at: green.observations.startedAt, phases: ['static'] },
      variables: { changed: ['JWT_ISSUER'], added: ['JWT_SKIP_VALIDATION'], gone: [] },
      versions: {},
      checks: [{ id, before: 'pass', after: 'fail PRESENT' }],
      causes: [{ kind: 'variable', name: 'JWT_SKIP_VALIDATION', explains: id }],
      notes: [],
    })
    expect(summary).toContain('## Since it was green')
    expect(summary).toContain('- variable JWT_SKIP_VALIDATION')
    expect(summary).toContain(`- ${id}: pass -> fail PRESENT`)
    expect(summary).toContain(`Most likely first: variable JWT_SKIP_VALIDATION, for ${id}.`)
    expect(JSON.parse((await bundleOf(failed)).get('INCOMPLETE.json')!.toString())).toEqual([])
  })

  it('is signed where a key was given, and verified with the other half of it', async () => {
    const cwd = newFolder()
    const { privateKey } = generateKeyPairSync('ed25519')
    const path = join(cwd, 'key.pem')
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    const env = { ...productionEnvironment, JWT_SKIP_VALIDATION: '1', ARQONBUS_DATA_DIR: cwd }
    const run = await runCommand(
      ['preflight', 'run', '--only', 'shield.jwt-skip-absent', '--json', '--sign', path],
      env,
    )
    expect(run.exitCode).toBe(20)
    const report = JSON.parse(run.out.join('\n')) as Report
    expect((await bundleOf(report)).get('SUMMARY.md')!.toString()).toContain(`signed with ${keyTextOf(privateKey)}.`)
    const archive = report.observations.incident!.bundle!.path
    const verify = (...args: string[]) => runCommand(['preflight', 'incident', 'verify', archive, ...args], {})
    const verified = await verify('--public-key', keyTextOf(privateKey))
    expect(verified).toMatchObject({
      exitCode: 0,
      out: [expect.stringMatching(/^VERIFIED: \d+ files/), expect.any(String)],
    })
    expect(verified.out[1]).toContain(`NO-GO, label blocker, commit `)
    expect(await verify()).toMatchObject({
      exitCode: 40,
      out: [expect.stringMatching(/^NO_KEY: /), expect.any(String), expect.any(String)],
    })
    const other = keyTextOf(generateKeyPairSync('ed25519').privateKey)
    expect(await verify('--public-key', other, '--json')).toMatchObject({ exitCode: 40 })
    expect((await verify('--public-key', 'ed25519:x')).exitCode).toBe(64)
    expect((await runCommand(['preflight', 'incident', 'verify', join(cwd, 'none')], {})).exitCode).toBe(65)
  })

  it('shows none of forty secrets in any form, anywhere, but that two are equal', async () => {
    const cwd = newFolder()
    const twin = plantedSecrets[5]!
    // What a server might say, and what programs print, with every secret in every form.
    const everything = plantedSecrets.flatMap(({ value }) => Object.values(printedForms).map((print) => print(value)))
    const spoken = everything.filter((form) => !/\p{Cc}/u.test(form))
    expect(spoken.length).toBeGreaterThan(40 * 12)
    const inputs = await failingInputs(cwd, {
      ...planted,
      TWIN_TOKEN: twin.value,
      JWT_SECRET: plantedSecrets[0]!.value,
    })
    const waivers = join(cwd, 'waivers.yaml')
    writeFileSync(waivers, everything.join('\n'))
    const prober = {
      answer: () =>
        Promise.resolve({ stopped: { code: 'SERVER_ERROR', observed: spoken[Math.floor(spoken.length / 2)]! } }),
      close: () => Promise.resolve(),
    }
    const lines: string[] = []
    const report = await runWithIncident(
      inputs,
      requestIn(cwd, { waiversFile: waivers, argv: ['arqonbus', ...spoken] }),
      {
        prober,
        progress: { write: (line) => void lines.push(JSON.stringify(line)) },
      },
    )
    const files = await bundleOf(report)
    expect(files.has('waivers/waivers.yaml')).toBe(true)
    expect(files.has('commands/000-preflight/argv.json')).toBe(true)
    const out: [string, Buffer][] = [
      ...files,
      ['JSON', Buffer.from(formatJson(report))],
      ['text', Buffer.from(formatText(report))],
      ['progress', Buffer.from(lines.join(''))],
    ]
    for (const { name, value } of plantedSecrets) {
      for (const [form, print] of Object.entries(printedForms)) {
        const bytes = Buffer.from(print(value), form.startsWith('UTF-16') ? 'latin1' : 'utf8')
        for (const [path, text] of out) expect(text.includes(bytes), `${name} ${form} in ${path}`).toBe(false)
      }
    }
    const { relations } = JSON.parse(files.get('redaction/report.json')!.toString()) as { relations: object[] }
    expect(relations).toContainEqual({
      fingerprint: expect.stringMatching(/^[0-9a-f]{4}$/),
      names: [twin.name, 'TWIN_TOKEN'],
    })
  })

  it('shows no secret where it cannot run at all', async () => {
    const { value } = plantedSecrets[2]!
    const cwd = newFolder()
    const broken = { ...createCatalogue()[0]!, id: `${value} ${encodeURIComponent(value)}`, requires: ['no such id'] }
    const inputs = { env: { ...planted, ARQONBUS_DATA_DIR: cwd } }
    const report = await runWithIncident(inputs, requestIn(cwd), { catalogue: [broken] })
    expect(report.canonical).toMatchObject({ verdict: 'INCONCLUSIVE', fault: { kind: 'internal' } })
    expect(report.observations.fault).toContain('«secret:PLANTED_2_SECRET:')
    for (const [path, text] of [...(await bundleOf(report)), ['JSON', Buffer.from(formatJson(report))] as const]) {
      expect(text.includes(value), path).toBe(false)
      expect(text.includes(encodeURIComponent(value)), path).toBe(false)
    }
  })

  it('says so where the bundle cannot be written, with the same verdict', async () => {
    const cwd = newFolder()
    const inputs = await failingInputs(cwd)
    const report = await runWithIncident(inputs, requestIn(cwd, { bundle: '/proc/nowhere' }))
    expect(report.canonical.verdict).toBe('NO-GO')
    expect(report.observations.incident!.bundle).toBeUndefined()
    expect(formatText(report)).toMatch(/note {5}no incident bundle: E\w+/)
  })
})

describe('a process that looks', () => {
  it('carries the canary in its environment, and is recorded with what it said', async () => {
    const canary = 'canary-of-this-test-3fa9c1e2'
    const spool = openCommandSpool(systemClock)
    const ports = checkPortsOf({ env: {} }, {})
    const inputs = { env: {}, targets: {}, policy: ports.policy, now: 0, runId: 'x', canary }
    const prober = createProber(inputs, spool)
    const check = { ...createCatalogue()[0]!, id: 'no.such', resource: 'test', probe: () => Promise.resolve({}) }
    expect(await prober.answer(check, ports)).toMatchObject({ stopped: { code: 'THREW' } })
    const environments = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => {
        try {
          return readFileSync(join('/proc', pid, 'environ'), 'latin1')
        } catch {
          return '' // it has ended since, or is not ours
        }
      })
    expect(environments.filter((text) => text.includes(`PREFLIGHT_CANARY_SECRET=${canary}`))).toHaveLength(1)
    await prober.close()
    expect(spool.commands()).toMatchObject([
      { folder: '000-probe-test', argv: [process.execPath, expect.stringContaining('probe-child')], signal: 'SIGKILL' },
    ])
    spool.close()
  })
})

describe('the command line', () => {
  const command = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
  async function preflight(cwd: string, args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, [command, 'preflight', ...args], {
      cwd,
      env: { ...tools, NODE_COMPILE_CACHE: compiled, ...env },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    const code = await new Promise((resolve) => child.on('close', resolve))
    return { code, stdout, stderr }
  }

  it('leaves a bundle beside where it was called, or in the data folder when there is one', async () => {
    const cwd = newFolder()
    const first = await preflight(cwd, ['--profile', 'prod'])
    expect(first.code).toBe(20)
    expect(bundlesIn(join(cwd, 'preflight-incidents'))).toHaveLength(1)
    expect(first.stdout).toContain(bundlesIn(join(cwd, 'preflight-incidents'))[0])
    mkdirSync(join(cwd, 'data'))
    const second = await preflight(cwd, ['--profile', 'prod', '--json'])
    expect(bundlesIn(join(cwd, 'data', 'incidents'))).toHaveLength(1)
    expect(JSON.parse(second.stdout)).toMatchObject({
      observations: { incident: { bundle: { files: expect.any(Number) } } },
    })
    expect(statSync(join(cwd, 'data', 'preflight.key')).mode & 0o777).toBe(0o600)
  })

  it.each([
    ['never', ['--profile', 'prod', '--bundle', 'never'], 20],
    ['for a part that did not fail', ['--only', 'live.*'], 30],
    ['for a wrong call', ['--only', 'no.such.check'], 64],
    ['for a wrong route', ['--route', 'mail=x'], 64],
    ['for a key that is not there', ['--sign', 'none.pem'], 64],
  ])('leaves none %s', async (_name, args, code) => {
    const cwd = newFolder()
    expect((await preflight(cwd, args)).code).toBe(code)
    expect(readdirSync(cwd)).toEqual([])
  })

  it('leaves one where it was told to, for a part too', async () => {
    const cwd = newFolder()
    const where = join(cwd, 'here')
    expect((await preflight(cwd, ['--only', 'live.*', '--bundle', where])).code).toBe(30)
    expect(bundlesIn(where)).toHaveLength(1)
    expect(readdirSync(cwd)).toEqual(['here'])
  })
})

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Answers each request as the list says, the last one for all that follow. */
async function startReceiver(...answers: readonly ((response: ServerResponse) => void)[]) {
  const received: Received[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
    request.on('end', () => {
      received.push({ headers: request.headers, body })
      answers[Math.min(received.length, answers.length) - 1]!(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    address: `http://127.0.0.1:${port}`,
    received,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const answer = (status: number) => (response: ServerResponse) => void response.writeHead(status).end()

async function routed(sinks: readonly string[], secret?: string): Promise<Report> {
  const cwd = newFolder()
  const env = { ...tools, ...(secret !== undefined && { ARQONBUS_PREFLIGHT_ROUTE_SECRET: secret }) }
  return await runWithIncident(await failingInputs(cwd), requestIn(cwd, { routes: sinks, env, bundle: 'never' }))
}

describe('tickets', () => {
  it('reach a webhook, signed over the body as it is', async () => {
    await using receiver = await startReceiver(answer(204))
    const report = await routed([`webhook=${receiver.address}/hook`], 'the key of the receiver')
    expect(report.observations.incident).toBeUndefined()
    expect(receiver.received).toHaveLength(1)
    const [{ headers, body }] = receiver.received as [Received]
    const expected = createHmac('sha256', 'the key of the receiver').update(body).digest('hex')
    expect(headers['x-arqonbus-signature']).toBe(`sha256=${expected}`)
    expect(JSON.parse(body)).toMatchObject({ digest: report.digest, route: { label: 'blocker' } })
    expect(body).not.toContain('the key of the receiver')
  })

  it('reach Slack in its own shape, unsigned without a key', async () => {
    await using receiver = await startReceiver(answer(200))
    await routed([`slack=${receiver.address}/services/x`])
    const [{ headers, body }] = receiver.received as [Received]
    expect(headers['x-arqonbus-signature']).toBeUndefined()
    const { text, blocks } = JSON.parse(body) as { text: string; blocks: { type: string }[] }
    expect(text).toMatch(/^Preflight NO-GO, blocker: \d+ root causes, for engineering$/)
    expect(blocks.length).toBeLessThanOrEqual(50)
    expect(blocks[0]).toMatchObject({ type: 'header' })
  })

  it('are sent again once, as the same delivery, when the receiver has a fault', async () => {
    await using receiver = await startReceiver(answer(503), answer(200))
    const report = await routed([`webhook=${receiver.address}`])
    expect(report.observations.incident).toBeUndefined()
    expect(receiver.received).toHaveLength(2)
    const ids = receiver.received.map(({ headers }) => headers['x-arqonbus-delivery'])
    expect(new Set(ids).size).toBe(1)
  })

  it.each([
    ['is refused', answer(404), 'it answered 404', 1],
    [
      'is led elsewhere',
      (response: ServerResponse) => void response.writeHead(307, { location: '/x' }).end(),
      'it answered 307',
      1,
    ],
    ['is refused twice', answer(500), 'it answered 500', 2],
    ['is cut off', (response: ServerResponse) => void response.destroy(), '', 2],
  ])('change no verdict when the delivery %s', async (_name, how, why, attempts) => {
    await using receiver = await startReceiver(how)
    const report = await routed([`webhook=${receiver.address}/path-of-it`])
    expect(report.canonical.verdict).toBe('NO-GO')
    expect(report.observations.incident!.notes).toEqual([
      expect.stringContaining(`not routed to webhook ${receiver.address}: ${why}`),
    ])
    expect(formatText(report)).not.toContain('path-of-it')
    expect(receiver.received).toHaveLength(attempts)
  })

  it('change no verdict when nobody is there', async () => {
    const report = await routed([`webhook=http://127.0.0.1:${await refusedPort()}`, 'command=no-such-program'])
    expect(report.observations.incident!.notes).toEqual([
      expect.stringMatching(/^not routed to webhook http:\/\/127\.0\.0\.1:\d+: ECONNREFUSED$/),
      'not routed to command no-such-program: ENOENT',
    ])
  })

  it('reach a file and a command, and no secret with them', async () => {
    const folder = newFolder()
    const [file, piped] = [join(folder, 'route.json'), join(folder, 'piped.json')]
    const script = 'process.stdin.pipe(require("node:fs").createWriteStream(process.argv[1]))'
    const argv = JSON.stringify([process.execPath, '-e', script, piped])
    const report = await routed([`file=${file}`, `command=${argv}`])
    expect(report.observations.incident).toBeUndefined()
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(JSON.parse(readFileSync(piped, 'utf8'))).toEqual(JSON.parse(readFileSync(file, 'utf8')))
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ route: { label: 'blocker' } })
  })
})
