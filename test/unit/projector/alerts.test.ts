// The alert rules name metrics that the projector has, with the labels it gives them, at the documented thresholds.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { createProjectorMetrics } from '../../../src/app/projector-metrics.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { createMetrics } from '../../../src/telemetry/metrics.ts'

const file = new URL('../../../docs/ArqonBus/alerts/continuum_projector.rules.yml', import.meta.url)
const text = readFileSync(file, 'utf8')
const rules = text
  .split(/^ {6}- alert: /m)
  .slice(1)
  .map((rule) => ({
    name: rule.slice(0, rule.indexOf('\n')),
    expr: /^ {8}expr: (.+)$/m.exec(rule)?.[1] ?? '',
    duration: /^ {8}for: (.+)$/m.exec(rule)?.[1],
    runbook: /^ {10}runbook: "(.+)"$/m.exec(rule)?.[1] ?? '',
  }))

it('the alert rules use only metrics and labels that are exposed', async () => {
  const metrics = createMetrics()
  const projector = createProjectorMetrics(metrics, systemClock, 100)
  projector.lanes(() => ({ nats: 1 }))
  projector.replayed(false, 'rejected')
  const exposed = await metrics.text()
  expect(rules).toHaveLength(5)
  for (const { name, expr } of rules) {
    const used = [...expr.matchAll(/arqonbus_[a-z_]+/g)].map(([metric]) => metric.replace(/_bucket$/, ''))
    expect(used.length, name).toBeGreaterThan(0)
    for (const metric of used) expect(exposed, name).toContain(`# TYPE ${metric} `)
    for (const [label] of expr.matchAll(/[a-z_]+="[a-z]+"/g)) expect(exposed, name).toContain(label)
    const depth = expr.split('(').length - expr.split(')').length
    expect(depth, `${name} closes what it opens`).toBe(0)
  }
})

it('the alert rules have the documented thresholds, and point to a heading that is there', () => {
  const of = (name: string) => rules.find((rule) => rule.name === `ContinuumProjector${name}`)
  expect(of('LagHigh')).toMatchObject({ expr: expect.stringMatching(/0\.95.* > 30$/), duration: '5m' })
  expect(of('DeadLettersPileUp')).toMatchObject({ expr: expect.stringMatching(/ > 100$/), duration: '10m' })
  expect(of('ReplaysFail')).toMatchObject({ expr: expect.stringMatching(/\[15m\].* > 0\.05$/), duration: '15m' })
  const guide = readFileSync(new URL('../../../docs/projector.md', import.meta.url), 'utf8')
  const anchors = [...guide.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  )
  for (const { runbook } of rules) {
    expect(runbook.split('#')[0]).toBe('docs/projector.md')
    expect(anchors).toContain(runbook.split('#')[1])
  }
})
