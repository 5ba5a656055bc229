// The variables of a start environment, and where each of them stands: later layers win, and what they hide is kept.
import { BusError } from '../../base/errors.ts'
import type { Environment } from '../../config/resolution.ts'

export interface StartVariable {
  /** May be a secret: never shown. */
  readonly text: string
  /** `path:line`; for a process what it is. */
  readonly where: string
  /** Places that say something else of it and lose, the first one first. */
  readonly shadows: readonly string[]
}

/** What a service is started with. */
export interface StartEnvironment {
  /** As it was asked for: `systemd:arqonbus.service`. */
  readonly source: string
  readonly variables: ReadonlyMap<string, StartVariable>
  /** The command line, where the source has one. */
  readonly argv?: readonly string[]
}

/** What sources are read with. */
export interface SourcePorts {
  /** Of the operator's shell: compose takes values from it. */
  readonly env: Environment
  readonly files?: SourceFiles
  /** Stands before every path of a unit and of /proc; default: none. */
  readonly root?: string
}

export interface SourceFiles {
  /** Throws as `readFileSync` does. */
  read(path: string): string
  /** Names in a folder, sorted; none where there is no such folder. */
  list(folder: string): readonly string[]
}

/** Collects layers in the order in which they apply. */
export class Variables {
  readonly #found = new Map<string, StartVariable>()

  set(name: string, text: string, where: string): void {
    const before = this.#found.get(name)
    this.#found.set(name, { text, where, shadows: before === undefined ? [] : [...before.shadows, before.where] })
  }

  get(name: string): string | undefined {
    return this.#found.get(name)?.text
  }

  /** Takes it away again; with `text` only where that is its value. */
  remove(name: string, text?: string): void {
    if (text === undefined || this.#found.get(name)?.text === text) this.#found.delete(name)
  }

  clear(): void {
    this.#found.clear()
  }

  /** Puts another layer over this one. */
  add(over: Variables): void {
    for (const [name, { text, where, shadows }] of over.#found) {
      const before = this.#found.get(name)
      const hidden = before === undefined ? [] : [...before.shadows, before.where]
      this.#found.set(name, { text, where, shadows: [...hidden, ...shadows] })
    }
  }

  all(): ReadonlyMap<string, StartVariable> {
    return this.#found
  }
}

/** A name that a process' environment can hold and a shell can set. */
export const isVariableName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)

/** The source says what cannot be understood, or leaves open what a variable is. `message` holds no value. */
export function badSource(message: string): BusError {
  return new BusError('USAGE', message, { reason: 'BAD_ENV_SOURCE' })
}

const words: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'it may not be read: run as its owner',
  EPERM: 'it may not be read: run as its owner',
  EISDIR: 'it is a folder',
  ESRCH: 'there is no such process',
}

/** Reads a file; throws USAGE `ENV_SOURCE_UNREADABLE`, saying why. `what` names it in the words. */
export function readSource(files: SourceFiles, path: string, what: string): string {
  try {
    return files.read(path)
  } catch (error) {
    const code = (error as { code?: unknown }).code // of the system call; absent for other errors
    const why = typeof code === 'string' ? (words[code] ?? code) : 'unknown error'
    throw new BusError('USAGE', `${what} cannot be read: ${why}`, { reason: 'ENV_SOURCE_UNREADABLE' })
  }
}

/** The same, with undefined for a file that is not there. */
export function readIfThere(files: SourceFiles, path: string, what: string): string | undefined {
  try {
    return files.read(path)
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    return readSource(files, path, what)
  }
}
