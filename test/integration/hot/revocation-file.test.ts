// Revocations in a real folder: kept over restarts, bounded by what has ended, refused when they cannot be read.
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createRevocations, type Revocations } from '../../../src/auth/revocations.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { HotState } from '../../../src/hot/hot-state.ts'
import { openHotState } from '../../../src/hot/open-hot-state.ts'
import { hotStateContract } from '../../support/contracts/hot-state.ts'
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts'

const limits = { maxKeys: 100, maxBytes: 100_000 }
let dataDir: string
let path: string
let clock: ManualClock
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-revocations-'))
  path = join(dataDir, 'revocations.jsonl')
  clock = createManualClock(1_000_000)
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

async function open(folder = dataDir): Promise<{ hot: HotState; revocations: Revocations }> {
  const revocations = createRevocations(clock)
  const ports = { clock, logger: silentLogger, revocations }
  return { hot: await openHotState({ mode: 'strict', limits, dataDir: folder }, ports), revocations }
}

describe('with a file', () => {
  hotStateContract('memory', async ({ limits: bounds, ...given }) => {
    const folder = await mkdtemp(join(dataDir, 'contract-'))
    return await openHotState({ mode: 'strict', limits: bounds, dataDir: folder }, { ...given, logger: silentLogger })
  })
})

describe('the file of revocations', () => {
  it('keeps them over a restart that nobody announced, until they end', async () => {
    const { hot } = await open()
    const adds = Array.from({ length: 50 }, (_, n) =>
      hot.revocations.add({ tenant: 'acme', subject: `s${n}`, untilMs: clock.now() + 100 }),
    )
    await Promise.all(adds)
    await hot.revocations.add({ tenant: 'globex', untilMs: clock.now() + 200 })
    const { hot: second, revocations } = await open() // the first is not closed
    expect(revocations.size).toBe(51)
    expect(revocations.isRevoked({ tenant: 'globex', subject: 'x' })).toBe(true)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    clock.advance(150)
    await second.close()
    const { hot: third, revocations: left } = await open()
    expect(left.size).toBe(1)
    expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(2)
    await third.close()
    await hot.close()
  })

  it('takes a last line that was cut off for one that was never kept', async () => {
    const { hot } = await open()
    await hot.revocations.add({ tenant: 'acme', subject: 'kept', untilMs: clock.now() + 100 })
    await hot.close()
    await appendFile(path, '{"tenant":"acme","subj')
    const { hot: second, revocations } = await open()
    expect(revocations.isRevoked({ tenant: 'acme', subject: 'kept' })).toBe(true)
    await second.revocations.add({ tenant: 'acme', subject: 'later', untilMs: clock.now() + 100 })
    await second.close()
    const { hot: third, revocations: all } = await open()
    expect(all.size).toBe(2)
    await third.close()
  })

  it.each(['nonsense', '{}', '[]', '{"tenant":"acme","subject":7,"untilMs":1}'])(
    'stops the start when a line is damaged: %s',
    async (line) => {
      await writeFile(path, `${line}\n`)
      await expect(open()).rejects.toMatchObject({ code: 'STORE_CORRUPT', details: { reason: 'DAMAGED' } })
    },
  )

  it('stops the start when it cannot be opened', async () => {
    await writeFile(join(dataDir, 'file'), '')
    await expect(open(join(dataDir, 'file'))).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED' })
  })
})
