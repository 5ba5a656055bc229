// Hashes of contents: of what was built, and of the packages it runs on.
import { createHash } from 'node:crypto'
import { type Dirent, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { sha256 } from './host.ts'

/** Paths below dist/ to their hashes, build-info.json itself left out. */
export function hashFiles(folder: string): Record<string, string> {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : []
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((path) => path !== 'build-info.json')
    .sort()
  return Object.fromEntries(paths.map((path) => [path, sha256(readFileSync(join(folder, path)))]))
}

/**
 * Of all files of a package's folder, by path and content; packages within it have hashes of their own. Undefined where
 * there is none. Throws where a file cannot be read.
 */
export function hashPackage(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined
  const hash = createHash('sha256')
  const visit = (path: string): void => {
    for (const entry of entriesOf(join(folder, path))) {
      const inner = path === '' ? entry.name : `${path}/${entry.name}`
      if (entry.isDirectory()) {
        if (inner !== 'node_modules') visit(inner)
      } else if (entry.isFile()) {
        const bytes = readFileSync(join(folder, inner))
        hash.update(`${inner}\0${bytes.length}\0`).update(bytes)
      } else hash.update(`${inner}\0link\0`)
    }
  }
  visit('')
  return `sha256:${hash.digest('hex')}`
}

/** In code-unit order, whatever the file system gives. */
function entriesOf(folder: string): Dirent[] {
  return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
}
