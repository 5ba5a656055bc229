// docs/config.md says what the table of keys says.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { configDocument } from '../../../src/config/document.ts'
import { allKeys } from '../../../src/config/keys.ts'

it('is the document in docs; otherwise run node scripts/gen-config-docs.ts', () => {
  const written = readFileSync(new URL('../../../docs/config.md', import.meta.url), 'utf8')
  expect(written).toBe(configDocument())
})

it('names every variable', () => {
  const text = configDocument()
  for (const name of allKeys.flatMap(({ names }) => names)) expect(text).toContain(`\`${name}\``)
})
