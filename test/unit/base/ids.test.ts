import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createClientId, createMessageIds, isMessageId, processOfClientId, randomHex } from '../../../src/base/ids.ts'

describe('message ids', () => {
  it.each([
    ['the original’s generated form', 'arq_1795417006860163159_1_55420b'],
    ['the original’s second form', 'arq_01HZZZZZZZZZZZZZZZZZZZZZZZ'],
    ['a UUIDv7', '0190f1e2-7b3c-7abc-8def-0123456789ab'],
    ['a UUIDv7 in capitals', '0190F1E2-7B3C-7ABC-8DEF-0123456789AB'],
    ['a ULID', '01ARZ3NDEKTSV4RRFFQ69G5FAV'],
  ])('take %s', (_, id) => {
    expect(isMessageId(id)).toBe(true)
  })

  it.each([
    ['nothing', ''],
    ['the form of the original’s documents', 'arq_msg_123'],
    ['a fourth part', 'arq_1_2_aaaaaa_3'],
    ['a part that is no number', 'arq_1_x_aaaaaa'],
    ['a sign, which the original’s parser let through', 'arq_-12345_1_aaaaaa'],
    ['hex with a prefix, likewise', 'arq_1_1_0xabcd'],
    ['seven hex digits', 'arq_1_1_aaaaaaa'],
    ['small letters in base 32', 'arq_01hzzzzzzzzzzzzzzzzzzzzzzz'],
    ['letters that Crockford leaves out', 'arq_01ILOUZZZZZZZZZZZZZZZZZZZZ'],
    ['a UUIDv4', '0190f1e2-7b3c-4abc-8def-0123456789ab'],
    ['a UUID of another variant', '0190f1e2-7b3c-7abc-7def-0123456789ab'],
    ['a ULID beyond its range', '81ARZ3NDEKTSV4RRFFQ69G5FAV'],
    ['a line feed at the end', 'arq_1_1_aaaaaa\n'],
    ['more digits than there are', `arq_${'1'.repeat(21)}_1_aaaaaa`],
  ])('refuse %s', (_, id) => {
    expect(isMessageId(id)).toBe(false)
  })

  it('made here are taken, differ, and count up', () => {
    const nextId = createMessageIds(1_795_417_006_860)
    const ids = Array.from({ length: 1_000 }, nextId)
    expect(ids.every(isMessageId)).toBe(true)
    expect(new Set(ids).size).toBe(1_000)
    expect(ids.map((id) => id.split('_').slice(0, 3).join('_'))).toEqual(
      ids.map((_, i) => `arq_1795417006860000000_${i + 1}`),
    )
  })
})

describe('client ids', () => {
  it('name their process, and are told from everything else', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'0123456789abcdef'.split('')), minLength: 8, maxLength: 8 }),
        (process) => {
          expect(processOfClientId(createClientId(process))).toBe(process)
        },
      ),
    )
    for (const text of [
      '',
      'arq_client_',
      `arq_client_${'a'.repeat(31)}`,
      `arq_client_${'A'.repeat(32)}`,
      'arqonbus',
    ]) {
      expect(processOfClientId(text)).toBeUndefined()
    }
  })

  it('are 32 hex digits after the prefix, and differ', () => {
    const ids = Array.from({ length: 100 }, () => createClientId('0123abcd'))
    expect(ids.every((id) => /^arq_client_0123abcd[0-9a-f]{24}$/.test(id))).toBe(true)
    expect(new Set(ids).size).toBe(100)
  })
})

it('randomHex gives two digits for each byte, and every digit', () => {
  expect(randomHex(0)).toBe('')
  const text = randomHex(4_096)
  expect(text).toMatch(/^[0-9a-f]{8192}$/)
  expect(new Set(text).size).toBe(16)
})
