// One version: package.json and base/version.ts may not drift apart.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { version } from '../../../src/base/version.ts'

it('has the same version in package.json and in the programs', () => {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  expect(manifest).toMatchObject({ name: 'arqonbus', version })
})
