// Schemas in a folder: `schemas.json` is the map, `<id>.binpb` each set. Looked at every two seconds.
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomHex } from '../base/ids.ts'
import { BusError } from '../base/errors.ts'
import { setLimits } from './descriptor-set.ts'
import { isSchemaId, mapLimits, type SchemaFiles } from './registry.ts'
import type { SchemaSource } from './source.ts'

export const mapFile = 'schemas.json'
const extension = '.binpb'
const lookMs = 2_000

export function openFolderSource(folder: string, { intervalMs = lookMs } = {}): SchemaSource {
  const listeners = new Set<() => void>()
  let trouble: string | undefined
  let seen: string | undefined
  let isLooking = false

  async function read(): Promise<SchemaFiles> {
    const names = await readdir(folder)
    const sets = new Map<string, Uint8Array>()
    for (const name of names) {
      const id = name.slice(0, -extension.length)
      if (!name.endsWith(extension) || !isSchemaId(id)) continue
      if (sets.size >= mapLimits.schemas) throw tooMuch(`more than ${mapLimits.schemas} schemas`)
      sets.set(id, await readBounded(join(folder, name), setLimits.bytes))
    }
    return {
      map: names.includes(mapFile) ? await readBounded(join(folder, mapFile), mapLimits.bytes) : undefined,
      sets,
    }
  }

  /** Names, sizes and times of all that `read` would read. */
  async function signature(): Promise<string> {
    const names = (await readdir(folder)).filter((name) => name === mapFile || name.endsWith(extension)).sort()
    const lines = await Promise.all(
      names.map(async (name) => {
        const { size, mtimeMs, ino } = await stat(join(folder, name))
        return `${name} ${size} ${mtimeMs} ${ino}`
      }),
    )
    return lines.join('\n')
  }

  async function look(): Promise<void> {
    if (isLooking) return
    isLooking = true
    const before = `${trouble} ${seen}`
    try {
      const now = await signature()
      trouble = undefined
      const isFirst = seen === undefined
      seen = now
      if (isFirst) return
    } catch {
      trouble = 'the folder of the schemas cannot be read'
    } finally {
      isLooking = false
    }
    if (`${trouble} ${seen}` !== before) for (const listener of listeners) listener()
  }

  const timer = setInterval(() => void look(), intervalMs)
  timer.unref()

  return {
    name: `folder ${folder}`,
    async read() {
      // Before the files are read: what changes meanwhile is seen at the next look.
      seen = await signature()
      return read()
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    get trouble() {
      return trouble
    },
    async write({ map, set }) {
      if (set !== undefined) await replace(join(folder, `${set.id}${extension}`), set.bytes)
      await replace(join(folder, mapFile), map)
    },
    close() {
      clearInterval(timer)
      listeners.clear()
      return Promise.resolve()
    },
  }
}

async function readBounded(path: string, max: number): Promise<Uint8Array> {
  const { size } = await stat(path)
  if (size > max) throw tooMuch(`a file of more than ${max} bytes`)
  return readFile(path)
}

function tooMuch(what: string): BusError {
  return new BusError('START_REFUSED', `The folder of schemas has ${what}`, { reason: 'SCHEMA_HOSTILE' })
}

/** A reader sees the old file or the new one, never half of it. */
async function replace(path: string, bytes: Uint8Array): Promise<void> {
  const fresh = `${path}.${randomHex(4)}.tmp`
  await writeFile(fresh, bytes)
  await rename(fresh, path)
}
