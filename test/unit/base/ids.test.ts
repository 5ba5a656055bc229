import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createClientId, createMessageIds, isMessageId, processOfClientId, randomHex } from '../../../src/base/ids.ts'
import { anyId, anyText } from '../../support/frames.ts'

describe('isMessageId', () => {
  it('takes the four forms', () => {
    fc.assert(fc.property(anyId, isMessageId))
  })

  it.each([
    ['the original’s example', 'arq_1795417006860163159_1_55420b'],
    ['upper-case hex', 'arq_1_1_ABCDEF'],
    ['the original’s second form', 'arq_01HZZZZZZZZZZZZZZZZZZZZZZZ'],
    ['a UUIDv7', '01890a5d-ac96-774b-bcce-b302099a8057'],
    ['an upper-case UUIDv7', '01890A5D-AC96-774B-BCCE-B302099A8057'],
    ['a ULID', '01ARZ3NDEKTSV4RRFFQ69G5FAV'],
  ])('takes %s', (_, id) => {
    expect(isMessageId(id)).toBe(true)
  })

  it.each([
    ['nothing', ''],
    ['the documents’ style', 'arq_msg_123'],
    ['a prefix alone', 'arq_'],
    ['five hex', 'arq_1_1_abcde'],
    ['seven hex', 'arq_1_1_abcdef0'],
    ['no hex', 'arq_1_1_abcdeg'],
    ['what Python takes for hex', 'arq_1_1_0xabcd'],
    ['a sign', 'arq_-1_1_abcdef'],
    ['21 digits', `arq_${'1'.repeat(21)}_1_abcdef`],
    ['a part more', 'arq_1_1_1_abcdef'],
    ['lower-case base 32', 'arq_01hzzzzzzzzzzzzzzzzzzzzzzz'],
    ['a letter base 32 has not', 'arq_01HZZZZZZZZZZZZZZZZZZZZZZI'],
    ['a UUIDv4', '9b2d1c7e-3f4a-4b5c-8d6e-7f8091a2b3c4'],
    ['a UUIDv7 of another variant', '01890a5d-ac96-774b-ccce-b302099a8057'],
    ['a ULID beyond its range', '81ARZ3NDEKTSV4RRFFQ69G5FAV'],
    ['a lower-case ULID', '01arz3ndektsv4rrffq69g5fav'],
    ['a line feed at the end', 'arq_1_1_abcdef\n'],
    ['a space before', ' arq_1_1_abcdef'],
    ['digits of another script', 'arq_١_1_abcdef'],
  ])('refuses %s', (_, id) => {
    expect(isMessageId(id)).toBe(false)
  })

  it('refuses text at large, and ids with anything added', () => {
    fc.assert(fc.property(anyText, (text) => !isMessageId(text)))
    fc.assert(
      fc.property(
        anyId,
        anyText.filter((text) => text !== ''),
        (id, text) => !isMessageId(`${id}\n${text}`),
      ),
    )
  })
})

describe('createMessageIds', () => {
  it('makes accepted ids that count, and differ between makers of one millisecond', () => {
    const [first, second] = [createMessageIds(1_795_417_006_860), createMessageIds(1_795_417_006_860)]
    const ids = [first(), first(), second(), second()]
    expect(ids.every(isMessageId)).toBe(true)
    expect(new Set(ids).size).toBe(4)
    expect(ids.map((id) => id.slice(0, -7))).toEqual([
      'arq_1795417006860000000_1',
      'arq_1795417006860000000_2',
      'arq_1795417006860000000_1',
      'arq_1795417006860000000_2',
    ])
  })
})

describe('client ids', () => {
  it('name their process, and never repeat', () => {
    const ids = Array.from({ length: 1_000 }, () => createClientId('0123abcd'))
    expect(new Set(ids).size).toBe(1_000)
    for (const id of ids) {
      expect(id).toMatch(/^arq_client_[0-9a-f]{32}$/)
      expect(processOfClientId(id)).toBe('0123abcd')
    }
  })

  it.each([
    '',
    'arq_client_',
    `arq_client_${'a'.repeat(31)}`,
    `arq_client_${'A'.repeat(32)}`,
    `x_${createClientId('01234567')}`,
  ])('are not %j', (text) => {
    expect(processOfClientId(text)).toBeUndefined()
  })
})

describe('randomHex', () => {
  it('gives two digits for each byte, all sixteen of them sooner or later', () => {
    for (const bytes of [0, 1, 3, 16]) expect(randomHex(bytes)).toMatch(new RegExp(`^[0-9a-f]{${2 * bytes}}$`))
    expect(new Set(randomHex(1_000)).size).toBe(16)
  })
})
