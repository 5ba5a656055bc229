// `npm run policies`: assembles policies/*.wat into the .wasm beside them. `--check` only says whether they are as built.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { assemble } from './assemble.ts'

const folder = join(import.meta.dirname, '../policies')
let stale = 0
for (const file of readdirSync(folder).filter((name) => name.endsWith('.wat'))) {
  const target = join(folder, file.replace(/\.wat$/, '.wasm'))
  const built = await assemble(file, readFileSync(join(folder, file), 'utf8'))
  if (!process.argv.includes('--check')) writeFileSync(target, built)
  else if (!readFileSync(target).equals(built)) {
    stale++
    console.error(`${target} is not what ${file} makes; run npm run policies`)
  }
}
process.exitCode = stale === 0 ? 0 : 1
