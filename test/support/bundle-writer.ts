// A process that writes one archive, and is killed (SIGKILL) while it writes the second: after its bytes are on the
// disk, before it has its name.
import { join } from 'node:path'
import { writeArchive } from '../../src/preflight/incident/archive.ts'

const [folder = ''] = process.argv.slice(2)
const bytes = Buffer.alloc(1_000_000, 'a bundle ')
await writeArchive(join(folder, 'preflight-incident-first-1.tar.gz'), bytes, () => Promise.resolve())
await writeArchive(join(folder, 'preflight-incident-second-2.tar.gz'), bytes, () => {
  process.kill(process.pid, 'SIGKILL')
  return new Promise(() => {})
})
