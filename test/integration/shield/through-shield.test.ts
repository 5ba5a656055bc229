// What a client can do at the bus, it can do through Shield, in either format.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { data, type EdgeLab, startEdgeLab } from '../../support/edge-lab.ts'

describe.each(['json', 'protobuf'] as const)('a %s client through Shield', (format) => {
  let lab: EdgeLab
  beforeEach(async () => {
    lab = await startEdgeLab()
  })
  afterEach(() => lab.close())

  test('joins, publishes with acknowledgement and position, and receives in order', async () => {
    const [alice, bob] = await Promise.all([lab.client('acme.alice', { format }), lab.client('acme.bob', { format })])
    const joined = await bob.join('ops', 'alerts')
    expect(joined.status).toBe('success')
    expect(data(joined)['position']).toMatchObject({ sequence: 0 })
    for (let n = 1; n <= 20; n++) {
      const ack = await alice.publish('ops', 'alerts', { n })
      expect(ack).toMatchObject({ type: 'message_response', status: 'success' })
      expect(ack.metadata['position']).toMatchObject({ sequence: n })
    }
    const got = await bob.received(20)
    expect(bob.numbers()).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    expect(got.every((frame) => frame.sender === alice.id)).toBe(true)
    expect(got.map((frame) => (frame.metadata['position'] as { sequence: number }).sequence)).toEqual(bob.numbers())
    expect(bob.raw.every(({ isBinary }, i) => i === 0 || isBinary === (format === 'protobuf'))).toBe(true)
  })
})
