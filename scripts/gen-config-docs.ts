// Writes docs/config.md and docs/preflight.md from the tables they describe.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { configDocument } from '../src/config/document.ts'
import { preflightDocument } from '../src/preflight/document.ts'

const documents: Readonly<Record<string, () => string>> = {
  'docs/config.md': configDocument,
  'docs/preflight.md': preflightDocument,
}

for (const [path, make] of Object.entries(documents)) {
  writeFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), make())
  console.log(path)
}
