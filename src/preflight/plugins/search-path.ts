// Programs named arqon-check-… that could be run and are not listed: nothing of theirs is run, but somebody put them
// there and may believe that they are.
import { accessSync, constants, readdirSync, realpathSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import type { PluginEntry } from '../../waivers/preflight-policy.ts'
import type { PluginNote } from '../report.ts'
import { programForm } from './program.ts'

/** `searchPath` as PATH has it; the policy's folder is where relative paths of `entries` count from. */
export function unlistedPrograms(
  searchPath: string,
  entries: readonly PluginEntry[],
  policyFolder: string,
): readonly PluginNote[] {
  const listed = new Set(entries.map(({ path }) => realOf(resolve(policyFolder, path))))
  const folders = [...new Set(searchPath.split(delimiter))].filter(isAbsolute)
  const found = folders.flatMap((folder) =>
    namesIn(folder)
      .filter((name) => programForm.test(name))
      .sort()
      .map((name) => ({ name, path: join(folder, name) })),
  )
  return found
    .filter(({ path }) => isExecutable(path) && !listed.has(realOf(path)))
    .map(({ name, path }) => ({
      plugin: name,
      code: 'NOT_LISTED',
      text: `is not listed in the policy and was not run (${path})`,
    }))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return [] // PATH may name what is not there
  }
}

function realOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
