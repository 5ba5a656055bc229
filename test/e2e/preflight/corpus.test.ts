// The fault corpus against real servers: each fault found under its name, with its class and label, by one cause or by those
// that the world names beside it; and no false alarm.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { stops } from '../../../src/preflight/verdict.ts'
import { type CorpusLab, openCorpusLab } from '../../support/preflight-corpus/lab.ts'
import { planted } from '../../support/preflight-corpus/planted.ts'
import { faults, oddities } from '../../support/preflight-corpus/worlds.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const codesOf = (result: Result | undefined): string[] =>
  result?.status === 'fail'
    ? result.findings.map(({ code }) => code)
    : result?.status === 'error'
      ? [result.code]
      : [result?.status ?? 'not planned']

/** What stopped, in words, for the one who reads a failure. */
const troublesOf = ({ canonical, observations }: Report): unknown =>
  canonical.results
    .filter((result) => stops(result) && result.status !== 'skip')
    .map((result) => [result.id, codesOf(result), result.class, observations.results[result.id]])

describe.skipIf(['valkey', 'postgres', 'nats'].some((name) => skipWithout(name as 'nats')))('the fault corpus', () => {
  let lab: CorpusLab
  beforeAll(async () => {
    lab = await openCorpusLab()
  }, 60_000)
  afterEach(async () => {
    await lab?.endWorld()
  })
  afterAll(async () => {
    await lab?.close()
  })

  test.each(faults)('finds: $name', async ({ arrange, id, code, class: fault, label, also = [] }) => {
    const report = await lab.run(await arrange(lab))
    const result = report.canonical.results.find((one) => one.id === id)
    const seen = JSON.stringify(troublesOf(report))
    expect({ codes: codesOf(result), class: result?.class }, seen).toEqual({
      codes: expect.arrayContaining([code]) as string[],
      class: fault,
    })
    expect([...report.canonical.rootCauses].sort(), seen).toEqual([id, ...also].sort())
    expect(report.canonical.route?.label).toBe(label)
    expect(report.canonical.verdict).toBe('NO-GO')
  })

  test.each(oddities)('lets pass: $name', async ({ arrange }) => {
    const report = await lab.run(await arrange(lab))
    expect(troublesOf(report)).toEqual([])
    expect(report.canonical.rootCauses).toEqual([])
    expect(report.canonical.counts.blocked).toBe(0)
  })

  test.each(planted)('the phase $phase alone finds: $name', async ({ plant, phase, found }) => {
    const changes = await plant(lab)
    const report = await lab.run({ ...changes, inputs: { phases: [phase], jobs: 8 } })
    const failed = report.canonical.results.filter(({ status }) => status === 'fail' || status === 'error')
    const codes = Object.fromEntries(failed.map((result) => [result.id, [...new Set(codesOf(result))]]))
    expect(codes, JSON.stringify(troublesOf(report))).toEqual(found)
    expect(report.canonical.verdict).toBe('NO-GO')
    const outside = report.canonical.results.filter((result) => result.phase !== phase)
    expect(outside.filter(({ status }) => status !== 'skip')).toEqual([])
  })

  test('is the same to an operator, whose probes are processes, and takes seconds', async () => {
    const report = await lab.run({ live: true, asOperator: true })
    const { counts, planned } = report.canonical
    process.stdout.write(
      `preflight as an operator runs it: ${counts.pass} of ${planned.length} checks passed in ${report.observations.ms} ms\n`,
    )
    expect(troublesOf(report)).toEqual([])
    expect(report.digest).toBe((await lab.run({ live: true })).digest)
  })

  test('is as large as it should be', () => {
    expect(faults.length).toBeGreaterThanOrEqual(60)
    expect(oddities.length).toBeGreaterThanOrEqual(20)
  })
})
