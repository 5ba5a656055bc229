// The lower bound on secrets, and the list of published ones.
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { publishedCount, publishedEntry } from '../../../src/rules/published-secrets.ts'
import { estimateBits, minSecretBits } from '../../../src/rules/secret-strength.ts'
import { signingDefaults } from '../../../src/preflight/live/case-names.ts'

describe('the strength of a secret', () => {
  it.each([
    ['one letter', 'z'.repeat(200)],
    ['a repeated word', 'correcthorse'.repeat(10)],
    ['a repeated word with a counter', Array.from({ length: 20 }, (_, i) => `secret${i}`).join('')],
    ['the alphabet', 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'],
    ['the alphabet backwards', 'zyxwvutsrqponmlkjihgfedcba9876543210'],
    ['the keyboard', 'qwertyuiopasdfghjklzxcvbnm1234567890'],
    ['two letters', 'abbababbaabbabaabababbbaabababab'.repeat(2)],
    ['nothing', ''],
  ])('is too little for %s', (_name, text) => {
    expect(estimateBits(text)).toBeLessThan(minSecretBits)
  })

  it('is enough for random secrets of the usual forms', () => {
    for (let round = 0; round < 500; round++) {
      expect(estimateBits(randomBytes(32).toString('base64'))).toBeGreaterThan(minSecretBits)
      expect(estimateBits(randomBytes(48).toString('base64url'))).toBeGreaterThan(minSecretBits)
      expect(estimateBits(randomBytes(32).toString('hex'))).toBeGreaterThan(minSecretBits)
    }
  })

  it('does not grow when a text is written twice', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8, maxLength: 60 }), (text) => {
        expect(estimateBits(text + text)).toBeLessThanOrEqual(estimateBits(text) + 1e-9)
      }),
    )
  })

  it('stays quick for a text of a megabyte', () => {
    const started = performance.now()
    estimateBits(randomBytes(700_000).toString('base64'))
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('the list of published secrets', () => {
  it('has at least sixty entries, the original’s own among them', () => {
    expect(publishedCount).toBeGreaterThanOrEqual(60)
    for (const literal of [
      'changeme',
      'secret',
      'replace-with-strong-secret',
      'test-secret',
      'arqon-shield-test-secret',
      'your-256-bit-secret',
    ]) {
      expect(publishedEntry(literal)).toMatch(/^[0-9a-f]{8}$/)
    }
  })

  it('knows a secret in capitals, with white space, in hex and in base64', () => {
    const text = 'change-me-in-production'
    const entry = publishedEntry(text)
    expect(entry).toBeDefined()
    for (const form of [
      text.toUpperCase(),
      ` ${text}\n`,
      Buffer.from(text).toString('hex'),
      Buffer.from(text).toString('base64'),
      Buffer.from(text).toString('base64url'),
    ]) {
      expect(publishedEntry(form)).toBe(entry)
    }
  })

  it('does not know random secrets', () => {
    for (let round = 0; round < 200; round++) expect(publishedEntry(randomBytes(32).toString('base64'))).toBeUndefined()
  })

  it('holds every secret the live check signs tokens with, and there are at least ten', () => {
    expect(signingDefaults.length).toBeGreaterThanOrEqual(10)
    for (const secret of signingDefaults) expect(publishedEntry(secret)).toBeDefined()
  })
})
