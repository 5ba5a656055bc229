import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createKeyNames, memberOf, streamOfMember } from '../../../src/storage/valkey/keys.ts'

const name = fc
  .oneof(fc.string({ unit: 'grapheme', minLength: 1 }), fc.stringMatching(/^[a:=3A{}]{1,6}$/))
  .filter((text) => text.isWellFormed())
const stream = fc.record({ tenant: name, room: name, channel: name })

describe('keys on Valkey', () => {
  it('differ for streams that differ, whatever their names, and from all other keys', () => {
    const names = createKeyNames('history')
    fc.assert(
      fc.property(stream, stream, (a, b) => {
        const isSame = a.tenant === b.tenant && a.room === b.room && a.channel === b.channel
        const [ours, theirs] = [Object.values(names.of(a)), Object.values(names.of(b))]
        expect(new Set([...ours, ...theirs]).size).toBe(isSame ? 5 : 10)
        const others = [names.tenants, names.identity, names.streamsOf(a.tenant), names.probe(b.room)]
        for (const key of ours) expect(others).not.toContain(key)
      }),
      { numRuns: 2_000 },
    )
  })

  it('have one hash tag for each stream, which no name can end early', () => {
    const names = createKeyNames('history')
    fc.assert(
      fc.property(stream, (key) => {
        const tags = Object.values(names.of(key)).map((text) => /\{([^}]+)\}/.exec(text)?.[1])
        expect(new Set(tags).size).toBe(1)
        expect(tags[0]?.split(':')).toHaveLength(3)
      }),
    )
  })

  it('give the names back that a tenant is listed with', () => {
    fc.assert(
      fc.property(stream, (key) => {
        expect(streamOfMember(key.tenant, memberOf(key))).toEqual(key)
      }),
    )
    expect(streamOfMember('acme', 'a')).toBeUndefined()
    expect(streamOfMember('acme', 'a:b:c')).toBeUndefined()
    expect(streamOfMember('acme', 'a:b=z1')).toBeUndefined()
  })

  it('differ between families', () => {
    const key = { tenant: 't', room: 'r', channel: 'c' }
    expect(createKeyNames('a').of(key).log).not.toBe(createKeyNames('b').of(key).log)
  })
})
