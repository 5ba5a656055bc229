import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  counterKey,
  keyOfField,
  leaseKey,
  membersKey,
  namespacePrefix,
  parseRevocationMember,
  placeOf,
  placeOfId,
  placesKey,
  processesKey,
  revocationKeys,
  revocationMember,
  valueField,
  valuesKey,
} from '../../../src/hot/valkey/keys.ts'

const name = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter((text) => text.isWellFormed()),
  fc.constantFrom(':', '*', 'a:b', 'a', '=3A', 'store', 'presence', 'agent', 'rate_limit', '#bytes', '\u00e9', 'A'),
)
const tenant = fc.constantFrom('a', 'A', 'a-b', 'a_b', 'store', 'agent', '*')
const process = fc.constantFrom('00-1', '00-11', '0-1')

/** Every key there is, with what it stands for. */
const anyKey = fc.oneof(
  tenant.map((t) => [valuesKey(t), ['values', t]]),
  fc
    .tuple(tenant, fc.option(name, { nil: undefined }), name)
    .map(([t, subject, what]) => [
      counterKey({ tenant: t, name: what, max: 1, windowMs: 1, ...(subject !== undefined && { subject }) }),
      ['counter', t, subject ?? null, what],
    ]),
  fc
    .tuple(tenant, name, name)
    .map(([t, room, channel]) => [placeOf({ tenant: t, room, channel }).processes, ['place', t, room, channel]]),
  fc
    .tuple(tenant, name, name, process)
    .map(([t, room, channel, p]) => [
      membersKey(placeOf({ tenant: t, room, channel }), p),
      ['members', t, room, channel, p],
    ]),
  process.map((p) => [leaseKey(p), ['lease', p]]),
  process.map((p) => [placesKey(p), ['places', p]]),
  fc.constantFrom(processesKey, ...Object.values(revocationKeys)).map((key) => [key, [key]]),
) as fc.Arbitrary<[string, unknown[]]>

describe('keys of hot state', () => {
  it('are equal only for equal things, also of different kinds', () => {
    fc.assert(
      fc.property(fc.array(anyKey, { minLength: 2, maxLength: 40 }), (keys) => {
        const seen = new Map<string, string>()
        for (const [key, what] of keys) {
          const text = JSON.stringify(what)
          expect(seen.get(key) ?? text).toBe(text)
          seen.set(key, text)
        }
      }),
      { numRuns: 3_000 },
    )
  })

  it('begin with their tenant', () => {
    fc.assert(
      fc.property(anyKey, ([key, [kind, owner]]) => {
        if (['values', 'counter', 'place', 'members'].includes(kind as string)) {
          expect(key.startsWith(`tenant:${owner === '*' ? '=2A' : (owner as string)}:`)).toBe(true)
        } else expect(key.startsWith('arqonbus:')).toBe(true)
      }),
    )
  })

  it('lead back to what they were made of', () => {
    fc.assert(
      fc.property(tenant, name, name, (t, one, two) => {
        const place = placeOf({ tenant: t, room: one, channel: two })
        expect(placeOfId(place.id)).toEqual(place)
        expect(parseRevocationMember(revocationMember({ tenant: t }))).toEqual({ tenant: t })
        expect(parseRevocationMember(revocationMember({ tenant: t, subject: one }))).toEqual({
          tenant: t,
          subject: one,
        })
        const field = valueField({ tenant: t, namespace: one, key: two })
        expect(keyOfField(field.slice(namespacePrefix(one).length))).toBe(two)
        expect(field).not.toContain('#')
      }),
    )
  })

  it('are no revocation when nobody of us wrote them', () => {
    for (const text of ['', ':', 'a:', ':a', 'a:b:c', 'a b', '=2', '=61']) {
      expect(parseRevocationMember(text)).toBeUndefined()
    }
  })
})
