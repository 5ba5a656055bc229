// What callers see when the worker thread hangs or dies. The workers here are real threads that misbehave.
import { Worker } from 'node:worker_threads'
import { afterEach, expect, it } from 'vitest'
import { createAppendQueue } from '../../../src/storage/append-queue.ts'
import { createWorkerChannel } from '../../../src/storage/embedded/worker-channel.ts'
import type { AppendRequest, AppendResult } from '../../../src/storage/store.ts'

const workers: Worker[] = []
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
})

function start(code: string) {
  const worker = new Worker(`const { parentPort } = require('node:worker_threads'); ${code}`, { eval: true })
  workers.push(worker)
  const deaths: Error[] = []
  const channel = createWorkerChannel(worker, { died: (cause) => deaths.push(cause), failed() {} })
  return { channel, deaths }
}

it('rejects waiting calls as unknown and later ones as not stored when the thread dies, and reports it once', async () => {
  const { channel, deaths } = start("parentPort.once('message', () => { throw new Error('broken') })")
  const waiting = Array.from({ length: 3 }, () => channel.call('probe', null))
  for (const call of waiting) await expect(call).rejects.toMatchObject({ code: 'STORE_TIMEOUT' })
  await expect(channel.call('probe', null)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await channel.terminate()
  expect(deaths.map((cause) => cause.message)).toEqual(['broken'])
})

it('gives up a call after its time when the thread hangs, and does not report a death it caused itself', async () => {
  const { channel, deaths } = start("parentPort.once('message', () => { for (;;); })")
  const calling = channel.call('probe', null, { timeoutMs: 50 })
  await expect(calling).rejects.toMatchObject({ code: 'STORE_TIMEOUT', details: { reason: 'NO_ANSWER' } })
  await channel.terminate()
  expect(deaths).toEqual([])
})

const request: AppendRequest = {
  key: { tenant: 't', room: 'r', channel: 'c' },
  id: 'id',
  hash: new Uint8Array(16),
  sender: 's',
  frame: new Uint8Array(10),
  atMs: 0,
}
const stored = (sequence: number): AppendResult => ({ kind: 'stored', position: { epoch: 1, sequence } })

it('sends together what gathers while a group is away, in order, and shares out the results', async () => {
  const groups: { size: number; answer: () => void }[] = []
  let last = 0
  const queue = createAppendQueue({
    timeoutMs: 5_000,
    send: (group) => {
      const { promise, resolve } = Promise.withResolvers<readonly AppendResult[]>()
      groups.push({ size: group.length, answer: () => resolve(group.map(() => stored(++last))) })
      return promise
    },
  })
  const first = queue.append([request])
  const sameTurn = queue.append([request, request])
  await Promise.resolve()
  const second = queue.append([request])
  await Promise.resolve()
  const gathered = Array.from({ length: 10 }, () => queue.append([request]))
  expect(groups.map(({ size }) => size)).toEqual([3, 1])
  groups[0]?.answer()
  expect([await first, await sameTurn]).toEqual([[stored(1)], [stored(2), stored(3)]])
  groups[1]?.answer()
  await second
  expect(groups.map(({ size }) => size)).toEqual([3, 1, 10])
  groups[2]?.answer()
  expect((await Promise.all(gathered)).flat()).toEqual(Array.from({ length: 10 }, (_, i) => stored(5 + i)))
  await queue.drain()
})

it('times out what was sent as unknown, and what was never sent as not stored, and never sends it', async () => {
  const sent: number[] = []
  const { promise: hanging, resolve: release } = Promise.withResolvers<void>()
  const queue = createAppendQueue({
    timeoutMs: 50,
    async send(group) {
      sent.push(group.length)
      await hanging
      return group.map((_, i) => stored(i + 1))
    },
  })
  const codes: string[] = []
  async function append(): Promise<void> {
    await queue.append([request]).catch((error: { code: string }) => codes.push(error.code))
  }
  const calls = [append()]
  await Promise.resolve()
  calls.push(append())
  await Promise.resolve()
  calls.push(append(), append())
  await Promise.all(calls)
  expect(codes).toEqual(['STORE_TIMEOUT', 'STORE_TIMEOUT', 'STORE_UNAVAILABLE', 'STORE_UNAVAILABLE'])
  release()
  await queue.drain()
  expect(sent).toEqual([1, 1])
})

it('rejects every call of a group that failed with its error, and goes on', async () => {
  let fail = true
  const queue = createAppendQueue({
    timeoutMs: 5_000,
    async send(group) {
      if (fail) throw new Error('no')
      return group.map(() => stored(1))
    },
  })
  const settled = await Promise.allSettled([queue.append([request]), queue.append([request])])
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  fail = false
  expect(await queue.append([request])).toEqual([stored(1)])
})
