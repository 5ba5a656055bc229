// Reading files that somebody names: capped, and apart from what parses them, so that no start loads YAML for nothing.
import { closeSync, openSync, readSync } from 'node:fs'

/** At most `maxBytes` and one more; undefined where the file cannot be read. */
export type ReadBytes = (path: string, maxBytes: number) => Uint8Array | undefined

/** Reads from the disk. Never throws. */
export const fromDisk: ReadBytes = (path, maxBytes) => {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const bytes = Buffer.alloc(maxBytes + 1)
    return bytes.subarray(0, readSync(file, bytes))
  } catch {
    return undefined
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
