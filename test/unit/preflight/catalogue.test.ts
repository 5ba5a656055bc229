// The catalogue against its documents, the runbook, and the table of environments.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createCatalogue, explainCheck, listCatalogue } from '../../../src/preflight/catalogue.ts'
import { preflightDocument } from '../../../src/preflight/document.ts'
import { rules } from '../../../src/rules/rules.ts'
import { brokenEnvironments } from '../../support/environments.ts'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const catalogue = createCatalogue()
const ids = new Set(catalogue.map(({ id }) => id))

describe('the catalogue', () => {
  it('has well-formed ids, each once, and complete entries', () => {
    expect(ids.size).toBe(catalogue.length)
    for (const check of catalogue) {
      expect(check.id).toMatch(
        /^(?:meta|runtime|toolchain|bus|shield|boot|live|projector|dep(?:\.(?:valkey|postgres|nats|ollama))?)\.[a-z][a-z-]+$/,
      )
      for (const text of [check.title, check.proves, check.evidence, check.fix]) expect(text.length).toBeGreaterThan(5)
      expect(check.runbook.every((line) => /^L\d+$/.test(line))).toBe(true)
      // A roll-up does nothing but wait.
      expect(check.effects.length === 0).toBe(check.isRollUp === true)
    }
  })

  it('holds every rule of the servers', () => {
    for (const { id } of rules) expect(ids).toContain(id)
  })

  it('is listed and explained as data', () => {
    expect(listCatalogue()).toHaveLength(catalogue.length)
    expect(explainCheck('shield.jwt-skip-absent')).toMatchObject({ runbook: ['L32', 'L62'], severity: 'blocker' })
    expect(explainCheck('no.such')).toBeUndefined()
  })

  it('has an environment that makes each rule fail', () => {
    const failing = new Set(brokenEnvironments.flatMap(({ findings }) => findings.map(({ id }) => id)))
    // The first needs --profile, as the test beside says; the second a file (test/e2e/refusals/starts.test.ts).
    const elsewhere = ['meta.profile-production', 'shield.policies-valid']
    const missing = rules.map(({ id }) => id).filter((id) => !failing.has(id) && !elsewhere.includes(id))
    expect(missing).toEqual([])
  })
})

describe('the documents', () => {
  it('describe every check: docs/preflight.md, otherwise run node scripts/gen-config-docs.ts', () => {
    expect(read('docs/preflight.md')).toBe(preflightDocument())
    for (const id of ids) expect(preflightDocument()).toContain(`<a id="${id}"></a>`)
  })

  it('keep the runbook byte for byte', () => {
    const digest = createHash('sha256')
      .update(read('docs/ArqonBus/runbooks/production_preflight_runbook.md'))
      .digest('hex')
    expect(digest).toBe('e6b34ebb43608a1ae3fd33fe560987dab8f1cb52c8f3ddc993477aa3e3760e80')
  })

  it('map every line of the runbook that asks for something, to checks that exist', () => {
    const map = read('docs/ArqonBus/runbooks/runbook_map.md')
    const named = [
      ...map.matchAll(/`((?:meta|bus|shield|live|dep|gate|boot|runtime|toolchain|projector)\.[a-z.-]+)`/g),
    ].map((match) => match[1]!)
    expect(named.filter((id) => !ids.has(id))).toEqual([])
    const beyond = catalogue.filter(({ runbook }) => runbook.length === 0).map(({ id }) => id)
    expect(beyond.length).toBeGreaterThan(0)
    expect([...ids].filter((id) => !named.includes(id)).sort()).toEqual(beyond.sort())
    const rows = [...map.matchAll(/^\| (L\d+)(?:–(L\d+))? \|/gm)].flatMap(([, from, to]) => lines(from!, to ?? from!))
    const runbook = read('docs/ArqonBus/runbooks/production_preflight_runbook.md').split('\n')
    const asking = runbook.flatMap((text, index) =>
      /^(?:- |conda |cargo |If any command)/.test(text) ? [`L${index + 1}`] : [],
    )
    expect(asking.length).toBeGreaterThan(35)
    expect(asking.filter((line) => !rows.includes(line))).toEqual([])
  })

  it('map the lines a check names to that check', () => {
    const rows = read('docs/ArqonBus/runbooks/runbook_map.md').split('\n')
    for (const { id, runbook } of catalogue) {
      for (const line of runbook) {
        const row = rows.find((text) => text.startsWith(`| ${line} |`))
        expect(row, `${id} at ${line}`).toContain(`\`${id}\``)
      }
    }
  })
})

function lines(from: string, to: string): string[] {
  const first = Number(from.slice(1))
  return Array.from({ length: Number(to.slice(1)) - first + 1 }, (_, index) => `L${first + index}`)
}
