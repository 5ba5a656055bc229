// docs/waivers.md shows a policy and a waiver that hold: what the page says is what the code does.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { applyWaiver } from '../../../src/waivers/judge-waivers.ts'
import { parsePreflightPolicy } from '../../../src/waivers/policy-file.ts'
import { parseWaivers } from '../../../src/waivers/waiver-file.ts'
import { dualStackOff } from '../../support/waivers.ts'

const page = readFileSync(new URL('../../../docs/waivers.md', import.meta.url), 'utf8')

/** The indented block that begins with that line. */
function blockOf(firstLine: string): Buffer {
  const lines = page.slice(page.indexOf(`    ${firstLine}`)).split('\n')
  const end = lines.findIndex((line) => !line.startsWith('    '))
  return Buffer.from(
    lines
      .slice(0, end)
      .map((line) => line.slice(4))
      .join('\n'),
  )
}

describe('the files in docs/waivers.md', () => {
  const policy = parsePreflightPolicy(blockOf('schema: arqonbus/preflight-policy/1'), 'policy')
  const { waivers } = parseWaivers(blockOf('schema: arqonbus/waivers/1'), 'waivers')
  const judge = (now: string) => applyWaiver(dualStackOff, { waivers, policy, profile: 'prod', now: Date.parse(now) })

  it('are good for the failure they are about', () => {
    expect(judge('2026-11-30T00:00:00Z')).toMatchObject({ status: 'waived', waiver: { id: 'EX-2026-001' } })
    expect(judge('2026-12-02T13:05:20Z')).toMatchObject({ refusals: [{ reason: 'EXPIRED' }] })
  })
})
