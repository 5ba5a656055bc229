// The Ollama chain against a fake of its HTTP API (no model can run here), and against what is not Ollama.
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { type OllamaFake, type OllamaModel, startOllamaFake } from '../../support/servers/ollama-fake.ts'
import { probeHere } from '../../support/probe-here.ts'

const digest = 'a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72'
const models: readonly OllamaModel[] = [
  { name: 'llama3.1:latest', digest },
  { name: 'qwen3:1.7b', digest: 'b'.repeat(64) },
  { name: 'broken:latest', digest: 'c'.repeat(64), isBroken: true },
]

describe('the Ollama chain', () => {
  const closing: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close()
  })

  async function start(...args: Parameters<typeof startOllamaFake>): Promise<OllamaFake> {
    const fake = await startOllamaFake(...args)
    closing.push(() => fake.close())
    return fake
  }

  function run(url: string, model?: string, { deep, env }: { deep?: true; env?: Environment } = {}): Promise<Report> {
    return runPreflight(
      {
        env: {
          ARQONBUS_OLLAMA_ENABLED: 'true',
          ARQONBUS_OLLAMA_URL: url,
          ...(model !== undefined && { ARQONBUS_OLLAMA_MODEL: model }),
          ...env,
        },
        only: ['dep.ollama.*'],
        phases: ['static', 'deps'],
        ...(deep && { deep }),
      },
      { prober: probeHere() },
    )
  }

  function outcome(result: Result): string {
    if (result.status === 'fail') return `${result.findings.map(({ code }) => code).join(' ')} (${result.class})`
    if (result.status === 'error') return `error ${result.code} (${result.class})`
    return result.status === 'skip' ? result.reason.kind : result.status
  }
  const outcomes = ({ canonical }: Report): string[] =>
    ['reachable', 'model-present', 'model-answers'].map((name) =>
      outcome(canonical.results.find(({ id }) => id === `dep.ollama.${name}`)!),
    )

  const skipped = 'not-selected'
  const blocked = 'blocked-by'

  test.each([
    ['without a tag', 'llama3.1'],
    ['with the tag that no tag means', 'llama3.1:latest'],
    ['with a tag', 'qwen3:1.7b'],
    ['with its digest', `llama3.1@sha256:${digest}`],
    ['with the first digits of its digest', `llama3.1:latest@sha256:${digest.slice(0, 12)}`],
  ])('finds a model named %s', async (_name, model) => {
    expect(outcomes(await run((await start(models)).url, model))).toEqual(['pass', 'pass', skipped])
  })

  test('asks for one token with --deep, and has the model unloaded', async () => {
    const fake = await start(models)
    expect(outcomes(await run(fake.url, 'llama3.1', { deep: true }))).toEqual(['pass', 'pass', 'pass'])
    const asked = fake.requests.filter(({ what }) => what === 'POST /api/generate')
    expect(asked).toMatchObject([{ body: { keep_alive: 0, options: { num_predict: 1, temperature: 0 } } }])
  })

  test('applies only where it is switched on', async () => {
    const report = await run('http://127.0.0.1:1', 'llama3.1', { env: { ARQONBUS_OLLAMA_ENABLED: 'false' } })
    expect(outcomes(report)).toEqual(['not-applicable', 'not-applicable', 'not-applicable'])
    const unclear = await run('http://127.0.0.1:1', 'llama3.1', { env: { ARQONBUS_OLLAMA_ENABLED: 'yes' } })
    expect(unclear.canonical).toMatchObject({ verdict: 'NO-GO', rootCauses: ['meta.config-valid'] })
  })

  test.each([
    ['is not there', 'qwen3', 'MODEL_ABSENT (dependency)'],
    ['cannot be shown', 'broken', 'MODEL_BROKEN (dependency)'],
    ['is another version', 'llama3.1@sha256:bbbbbbbbbbbb', 'OTHER_DIGEST (dependency)'],
    ['is not named', undefined, 'MODEL_NOT_SET (config)'],
    ['has no name that could be one', 'llama3.1@sha256:zz', 'BAD_MODEL_NAME (config)'],
  ])('says that the model %s', async (_name, model, expected) => {
    const report = await run((await start(models)).url, model)
    expect(outcomes(report)).toEqual(['pass', expected, skipped])
  })

  test('says that nobody is there, and that the address is none', async () => {
    const [dead] = (await findFreePorts(1)) as [number]
    expect(outcomes(await run(`http://127.0.0.1:${dead}`, 'a'))).toEqual([
      'ECONNREFUSED (dependency)',
      blocked,
      skipped,
    ])
    expect(outcomes(await run('ftp://127.0.0.1', 'a'))).toEqual(['BAD_ADDRESS (config)', blocked, skipped])
  })

  test('says that a hole swallows what is asked', async () => {
    const sockets = new Set<{ destroy(): void }>()
    const server = createServer((socket) => sockets.add(socket))
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    closing.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const report = await run(`http://127.0.0.1:${port}`, 'a')
    expect(outcomes(report)).toEqual(['error DEADLINE (dependency)', blocked, skipped])
  })

  test.skipIf(skipWithout('nats'))('says that something else answers there', async () => {
    const nats = await startNatsServer()
    closing.push(() => nats.close())
    expect(outcomes(await run(`http://127.0.0.1:${nats.port}`, 'a'))[0]).toBe('NOT_THE_PROTOCOL (config)')
  })

  test.each<[string, number, string, string]>([
    ['a page', 200, '<html></html>', 'NOT_THE_PROTOCOL (config)'],
    ['another API', 404, '{}', 'NOT_THE_PROTOCOL (config)'],
    ['a sign-in', 401, '{}', 'AUTH_REFUSED (config)'],
    ['a proxy without its server', 503, '', 'SERVER_ERROR (dependency)'],
    ['no version', 200, '{}', 'NO_VERSION (dependency)'],
  ])('says what %s means', async (_name, status, text, expected) => {
    const fake = await start(models, {
      'GET /api/version': (_request, response) => response.writeHead(status).end(text),
    })
    expect(outcomes(await run(fake.url, 'llama3.1'))).toEqual([expected, blocked, skipped])
  })

  test('gives a user and password to a proxy, and shows neither', async () => {
    const seen: (string | undefined)[] = []
    const fake = await start(models, {
      'GET /api/version': (request, response) => {
        seen.push(request.headers.authorization)
        response.writeHead(200).end('{"version":"1"}')
      },
    })
    const report = await run(fake.url.replace('//', '//me:hush%21@'), 'llama3.1')
    expect(outcomes(report)).toEqual(['pass', 'pass', skipped])
    expect(seen).toEqual([`Basic ${btoa('me:hush!')}`])
    expect(JSON.stringify(report)).not.toMatch(/hush/)
  })
})
