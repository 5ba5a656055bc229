// Files of a project as the gates look through them: by path, sorted, as text.
import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { readText } from '../runtime/host.ts'

export interface SourceText {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly text: string
}

const codeFile = /\.[cm]?[jt]sx?$/
const maxBytes = 4 * 1024 * 1024

/** Every file of code at or below these; nothing for what is not there. */
export function codeBelow(root: string, places: readonly string[]): SourceText[] {
  const paths = new Set<string>()
  for (const place of places) {
    const full = join(root, place)
    const stats = statSync(full, { throwIfNoEntry: false })
    if (stats?.isFile() === true) paths.add(full)
    else if (stats !== undefined) for (const path of walk(full)) paths.add(path)
  }
  return [...paths]
    .filter((path) => codeFile.test(path) && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) <= maxBytes)
    .map((path) => ({ path: relative(root, path).replaceAll('\\', '/'), text: readText(path) ?? '' }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

function walk(folder: string): string[] {
  let entries: Dirent[]
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : walk(path)
    return [path]
  })
}

const only = /\b(?:it|test|describe|suite|context)(?:\.\w+(?:\([^()]*\))?)*\.only\b|\bonly\s*:\s*true\b/

/** `path:line` of each place that keeps other tests from running. Also in strings: better once too often. */
export function onlyPlaces(files: readonly SourceText[]): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (only.test(line) ? [`${path}:${index + 1}`] : [])),
  )
}

/** Lines that are only a comment go, for examples of imports stand there. */
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^[ \t]*\/\/.*$/gm, '')

const importForms: readonly RegExp[] = [
  /^\s*import\s+(?!type\b)[\w\s{},*$]+?\s*from\s*['"]([^'"\n]+)['"]/gm,
  /^\s*import\s*['"]([^'"\n]+)['"]/gm,
  /^\s*export\s+(?!type\b)(?:\{[^}]*\}|\*(?:\s+as\s+\w+)?)\s*from\s*['"]([^'"\n]+)['"]/gm,
  /(?<!typeof )\bimport\(\s*['"]([^'"\n]+)['"]\s*\)(?!\.[A-Z])/g, // dynamic; the type form goes on with a name
  /\brequire\(\s*['"]([^'"\n]+)['"]\s*\)/g,
]

/** Specifiers that a file loads when it runs; types vanish. Read from the text, in the forms that a formatter writes. */
export function loadedBy({ text }: SourceText): string[] {
  const code = withoutComments(text)
  return [...new Set(importForms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1]!)))].sort()
}

/** `@scope/name` of `@scope/name/part`; undefined for a path, `#inner`, and another scheme (`node:fs`). */
export function packageOf(specifier: string): string | undefined {
  if (/^[./#]/.test(specifier) || specifier.includes(':')) return undefined
  return /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0]
}
