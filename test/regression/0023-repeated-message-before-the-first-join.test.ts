// After a restart the first thing a bus heard of a channel was a message sent again. Its position, in the middle of the
// log, was taken for where the channel stands, and members that recovered from the end were given the rest once more.
// Seen as C3 in one of eight runs of e2e/durability (a reader got 864 after 1227). Guarded here and there.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createMessageIds } from '../../src/base/ids.ts'
import { startBusInProcess } from '../support/launch/bus-in-process.ts'
import { dataOf, positionOf } from '../support/launch/wire-client.ts'

test.each(['one', '*'])('a message sent again before the first join of %s moves no position', async (name) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-0023-'))
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const env = { ARQONBUS_STORAGE_BACKEND: 'embedded', ARQONBUS_DATA_DIR: dataDir }
  const nextId = createMessageIds(Date.now())
  const sent = Array.from({ length: 5 }, (_, n) => ({ id: nextId(), room: 'lab', channel: 'one', payload: { n } }))

  const before = await startBusInProcess({ env })
  const first = await before.client()
  for (const message of sent) await first.ask(message)
  await before.close()

  const bus = await startBusInProcess({ env })
  onTestFinished(() => bus.close())
  const publisher = await bus.client()
  const again = await publisher.ask(sent[1]!)
  expect(again.metadata).toMatchObject({ duplicate: true, position: { sequence: 2 } })

  const member = await bus.client()
  const from = { ...positionOf(again), sequence: 5 }
  const joined = dataOf(await member.join('lab', name, name === '*' ? { one: from } : from))
  expect(joined).toMatchObject({ recovered: true, replayed: 0 })
  await publisher.publish('lab', 'one', { n: 5 })
  await member.received(1)
  await publisher.publish('lab', 'one', { n: 6 })
  await member.received(2)
  expect(member.messages().map((frame) => positionOf(frame).sequence)).toEqual([6, 7])
})
