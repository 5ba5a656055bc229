// Makes src/wire/generated from proto/: message types for TypeScript, and the descriptor set that Shield validates by.
// Offline and deterministic; only tools of node_modules.
//   node scripts/gen-proto.ts            writes src/wire/generated anew
//   node scripts/gen-proto.ts --check    exits with 1 when what is there differs from what proto/ gives
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const protoFolder = fileURLToPath(new URL('../proto', import.meta.url))
const target = fileURLToPath(new URL('../src/wire/generated', import.meta.url))
const require = createRequire(import.meta.url)

/** The launchers are run by this Node, so that neither PATH nor install scripts matter. */
function launcher(packageName: string, bin: string): string {
  return join(dirname(require.resolve(`${packageName}/package.json`)), 'bin', bin)
}

function buf(...args: string[]): void {
  const { status, error } = spawnSync(process.execPath, [launcher('@bufbuild/buf', 'buf'), ...args], {
    cwd: protoFolder,
    stdio: 'inherit',
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`buf ${args[0]} failed`)
}

function generate(folder: string): void {
  const plugin = {
    local: [process.execPath, launcher('@bufbuild/protoc-gen-es', 'protoc-gen-es')],
    out: folder,
    opt: ['target=ts', 'import_extension=ts', 'erasable_syntax=true'],
  }
  buf('lint')
  buf('generate', '--template', JSON.stringify({ version: 'v2', plugins: [plugin] }))
  const descriptors = join(folder, 'envelope.desc')
  buf('build', '--as-file-descriptor-set', '--exclude-source-info', '--output', `${descriptors}#format=binpb`)
}

/** Every file under `folder` by its path in it; a folder that is not there has none. */
function filesOf(folder: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (const entry of readFolder(folder)) {
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name)
      files.set(path.slice(folder.length + 1), readFileSync(path))
    }
  }
  return files
}

function readFolder(folder: string) {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function differences(expected: Map<string, Buffer>, actual: Map<string, Buffer>): string[] {
  const lines: string[] = []
  for (const [path, bytes] of expected) {
    const there = actual.get(path)
    if (there === undefined) lines.push(`${path} is missing`)
    else if (!there.equals(bytes)) lines.push(`${path} differs`)
  }
  for (const path of actual.keys()) if (!expected.has(path)) lines.push(`${path} is not generated from proto/`)
  return lines.sort()
}

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
const fresh = mkdtempSync(join(tmpdir(), 'arqonbus-proto-'))
try {
  generate(fresh)
  if (values.check) {
    const found = differences(filesOf(fresh), filesOf(target))
    for (const line of found) console.error(`src/wire/generated/${line}`)
    if (found.length > 0) {
      console.error('Run "npm run gen" and commit the result.')
      process.exitCode = 1
    }
  } else {
    rmSync(target, { recursive: true, force: true })
    cpSync(fresh, target, { recursive: true })
  }
} finally {
  rmSync(fresh, { recursive: true, force: true })
}
