// Writes docs/config.md, docs/preflight.md and the manifest of the catalogue from the tables they describe.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { configDocument } from '../src/config/document.ts'
import { createCatalogue } from '../src/preflight/catalogue.ts'
import { manifestText } from '../src/preflight/catalogue-manifest.ts'
import { preflightDocument } from '../src/preflight/document.ts'

const documents: Readonly<Record<string, () => string>> = {
  'docs/config.md': configDocument,
  'docs/preflight.md': preflightDocument,
  'src/preflight/catalogue-manifest.json': () => manifestText(createCatalogue()),
}

for (const [path, make] of Object.entries(documents)) {
  writeFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), make())
  console.log(path)
}
