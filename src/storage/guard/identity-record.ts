// Remembers, in the data folder, which store the bus used last: another one at the same address never held what was
// acknowledged before, and only an operator can know whether that is meant.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BusError } from '../../base/errors.ts'

export interface IdentityRecord {
  /** Undefined when none was kept yet. */
  read(): Promise<string | undefined>
  write(identity: string): Promise<void>
}

interface Content {
  readonly backend: string
  readonly identity: string
}

/** One record for each backend; a change of backend is the operator's own doing. */
export function createIdentityRecord(dataDir: string, backend: string): IdentityRecord {
  const file = join(dataDir, `history-identity-${backend}.json`)
  return {
    async read() {
      let text: string
      try {
        text = await readFile(file, 'utf8')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw unreadable(file, error)
      }
      try {
        const { identity } = JSON.parse(text) as Partial<Content>
        if (typeof identity === 'string') return identity
      } catch (error) {
        throw unreadable(file, error)
      }
      throw unreadable(file)
    },
    async write(identity) {
      const content: Content = { backend, identity }
      await mkdir(dataDir, { recursive: true, mode: 0o700 })
      // Replaced as a whole: half a record would stop the next start.
      await writeFile(`${file}.new`, `${JSON.stringify(content)}\n`, { mode: 0o600 })
      await rename(`${file}.new`, file)
    },
  }
}

function unreadable(file: string, cause?: unknown): BusError {
  const message = `${file} cannot be read; repair its permissions, or remove it if the store behind it is the right one`
  return new BusError('STORE_OPEN_FAILED', message, { reason: 'NOT_ACCESSIBLE', file }, cause)
}
