// Every check of the catalogue proven able to fail, and the proof itself proven able to find one that cannot.
import { describe, expect, it } from 'vitest'
import { selftestCommand } from '../../../src/bin/commands/preflight-selftest.ts'
import type { Terminal } from '../../../src/bin/terminal.ts'
import { createCatalogue, register } from '../../../src/preflight/catalogue.ts'
import { type Check, failed, passed } from '../../../src/preflight/check.ts'
import { engineCheck } from '../../../src/preflight/engine-check.ts'
import { rollUp } from '../../../src/preflight/roll-ups.ts'
import { proveCatalogue, proveCheck } from '../../../src/preflight/self-proof.ts'
import { isDetermined, proveDeterminism, proveEverything, proveRollUp } from '../../../src/preflight/selftest.ts'
import { badTokenNames, malformedNames } from '../../../src/preflight/live/case-names.ts'
import { badTokens } from '../../../src/preflight/live/probe-tokens.ts'
import { checkPortsOf } from '../../../src/preflight/ports.ts'
import { strongSecret } from '../../support/environments.ts'

const catalogue = createCatalogue()
const find = (id: string): Check => catalogue.find((check) => check.id === id)!
const schema = find('shield.schema-strict')

describe('the catalogue', () => {
  it.each([...catalogue, engineCheck].map((check) => [check.id, check]))('proves %s', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  it('has the same ledger every time, and whatever stands first', async () => {
    const { digest, faults, kills } = await proveEverything(catalogue)
    expect(faults).toBe(0)
    expect(kills).toBeGreaterThan(400)
    expect((await proveEverything([...catalogue].reverse())).digest).toBe(digest)
    expect(proveCatalogue(catalogue).faults).toBe(0)
  })

  it('takes no check that has never been seen to fail, to pass, or to leave the odd alone', () => {
    for (const part of ['fails', 'passes', 'ignores'] as const) {
      const bare = { ...schema, worlds: { ...schema.worlds, [part]: [] } }
      expect(() => register([...catalogue, bare])).toThrow(
        expect.objectContaining({ code: 'INTERNAL_ERROR', details: { reason: 'BAD_CATALOGUE' } }),
      )
    }
    const named = rollUp({ ...schema, id: 'shield.all', requires: [schema.id] })
    expect(register([named])).toEqual([named])
  })
})

describe('a proof', () => {
  const faultsOf = (changes: Partial<Check>): readonly string[] => proveCheck({ ...schema, ...changes }).faults

  it('finds a judge that cannot fail', () => {
    expect(faultsOf({ judge: () => passed() })).toContain(
      'off: pass instead of fail ARQON_SCHEMA_STRICT NOT_STRICT (config)',
    )
  })

  it('finds a judge that cannot pass, and one that fails with another code or variable', () => {
    expect(faultsOf({ judge: () => failed('NOT_STRICT', 'ARQON_SCHEMA_STRICT', '', '') })).toContain(
      'healthy: fail ARQON_SCHEMA_STRICT NOT_STRICT instead of pass',
    )
    for (const [code, variable] of [
      ['OTHER', 'ARQON_SCHEMA_STRICT'],
      ['NOT_STRICT', 'OTHER'],
    ] as const) {
      const faults = faultsOf({
        judge(facts, ports) {
          const result = schema.judge(facts, ports)
          return result.status === 'fail' ? failed(code, variable, '', '') : result
        },
      })
      expect(faults.some((fault) => fault.startsWith('off: '))).toBe(true)
    }
  })

  it('finds a class that is not the one of the world', () => {
    const [first] = schema.worlds.fails
    const fails = [{ ...first!, expect: { code: 'NOT_SET', class: 'dependency' as const } }]
    expect(proveCheck(schema, { ...schema.worlds, fails }).faults).toEqual([
      'not set: fail ARQON_SCHEMA_STRICT NOT_SET (config) instead of fail NOT_SET (dependency)',
      'no world in which it fails',
    ])
  })

  it('finds a check that judges without looking', () => {
    const health = find('live.bus-health')
    expect(proveCheck({ ...health, judge: () => passed(), shape: {} }).faults).toContain(
      'with no facts: pass instead of error',
    )
    expect(faultsOf({ judge: () => passed() })).toContain('without ports: pass instead of error')
  })

  it('finds a check that applies where it should not, and one that does not where it should', () => {
    expect(faultsOf({ appliesWhen: { name: 'x', test: () => ({ holds: true, because: '' }) } })).toEqual([
      'development: it applies',
    ])
    expect(faultsOf({ appliesWhen: { name: 'x', test: () => ({ holds: false, because: 'x' }) } })).toContain(
      'healthy: error NOT_APPLICABLE: x instead of pass',
    )
  })
})

describe('a roll-up', () => {
  const needed = ['shield.schema-strict', 'shield.jwt-secret-present']
  const all = rollUp({ ...head(), requires: needed })
  const withAll = [...catalogue, all]

  it('waits on each check it requires', async () => {
    expect(await proveRollUp(all, withAll)).toEqual({
      id: all.id,
      kills: needed.map((id) => ({ world: `${id} fails`, code: 'BLOCKED' })),
      faults: [],
    })
    expect((await proveEverything(withAll)).faults).toBe(0)
  })

  it('is unproven when it fails by itself, requires nothing, or names nobody', async () => {
    const own = { ...all, judge: () => failed('OWN', 'x', '', '') }
    expect((await proveRollUp(own, [...catalogue, own])).faults).toContain('it does not pass')
    const lazy = rollUp({ ...head(), requires: [] })
    expect((await proveRollUp(lazy, [...catalogue, lazy])).faults).toEqual(['it requires nothing'])
    const lost = rollUp({ ...head(), requires: ['no.such'] })
    expect((await proveRollUp(lost, [...catalogue, lost])).faults).not.toEqual([])
  })

  function head() {
    return { id: 'dep.all', title: 'All', proves: 'All of it.', runbook: [], severity: 'high' as const }
  }
})

describe('determinism', () => {
  it('is one digest for each of two recordings, however they are scheduled', async () => {
    const found = await proveDeterminism(catalogue, { runs: 20, seed: 1 })
    expect(found.digests.healthy).toHaveLength(1)
    expect(isDetermined(found)).toBe(true)
  })

  it('finds a judge that depends on when it is asked', async () => {
    let calls = 0
    const moody: Check = { ...schema, judge: () => (++calls % 2 === 0 ? passed() : failed('ODD', 'x', '', '')) }
    const moodier = catalogue.map((check) => (check === schema ? moody : check))
    expect(isDetermined(await proveDeterminism(moodier, { runs: 4, seed: 1 }))).toBe(false)
  })

  it('finds facts that move', async () => {
    let calls = 0
    const counting: Check = { ...schema, judge: () => passed(undefined, { calls: ++calls }) }
    const others = catalogue.map((check) => (check === schema ? counting : check))
    expect(isDetermined(await proveDeterminism(others, { runs: 2, seed: 1 }))).toBe(false)
  })
})

describe('the command', () => {
  async function run(...args: string[]): Promise<{ lines: string[]; code: number | undefined }> {
    const lines: string[] = []
    let code: number | undefined
    const terminal = { env: {}, out: (line: string) => lines.push(line), exitWith: (value: number) => (code = value) }
    await selftestCommand(terminal as unknown as Terminal).parseAsync(args, { from: 'user' })
    return { lines, code }
  }

  it('prints the ledger, the worlds when asked, and ends with 0', async () => {
    const { lines, code } = await run('-v', '--determinism', '2', '--seed', '7')
    expect(code).toBe(0)
    expect(lines).toContain('proven     6 shield.schema-strict')
    expect(lines).toContain('             NOT_STRICT: off')
    expect(lines.at(-3)).toMatch(/^2 runs each, seed 7: healthy sha256:[0-9a-f]{64}$/)
    expect(lines.at(-1)).toMatch(/ kills, 0 faults; catalogue sha256:[0-9a-f]{64}, ledger sha256:[0-9a-f]{64}$/)
  })

  it('prints one document with --json', async () => {
    const { lines } = await run('--json')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0]!)).toMatchObject({ faults: 0 })
  })

  it('refuses a number that is none', async () => {
    await expect(run('--determinism', '0')).rejects.toThrow('--determinism needs a whole number')
  })
})

describe('the cases of the live probes', () => {
  it('are those that the judges ask for', async () => {
    const ports = checkPortsOf({ env: { JWT_SECRET: strongSecret } }, {})
    expect((await badTokens(ports)).map(({ name }) => name)).toEqual(badTokenNames)
    expect(new Set(malformedNames).size).toBe(3)
  })
})
