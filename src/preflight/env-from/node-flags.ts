// Options of Node in a command line. Command lines may hold secrets: only names that Node itself lists leave this file.
import { basename } from 'node:path'

/** What is told of an option that Node does not list for NODE_OPTIONS: its name could be anything. */
export const unlisted = '(unlisted option)'

/** Options that Node takes on its command line alone. */
const commandLineOnly = new Set(['--eval', '-e', '--print', '-p', '-pe', '--expose-gc', '--allow-natives-syntax'])

/**
 * Names of the options between `node` and the program, in their order; values left out. Also below `sh -c`, `env` and
 * the like. None where the command does not name node: the launcher starts it without any.
 */
export function nodeFlagsOf(argv: readonly string[]): readonly string[] {
  const words = argv.flatMap((word, index) => (isScript(argv[index - 1]) ? word.trim().split(/\s+/) : [word]))
  const node = words.findIndex((word) => /^node(?:js)?$/.test(basename(word)))
  if (node === -1) return []
  const rest = words.slice(node + 1)
  // A value in a word of its own (--require x.js) looks like the program; ours is known by its name.
  const own = rest.findIndex((word) => /^arqonbus(?:\.m?[jt]s)?$/.test(basename(word)))
  const end = own === -1 ? rest.findIndex((word) => !word.startsWith('-')) : own
  return rest
    .slice(0, end === -1 ? undefined : end)
    .filter((word) => word.startsWith('-') && word !== '--')
    .map(nameOf)
}

/** Is the word after this one a script of a shell? */
const isScript = (option: string | undefined): boolean => option !== undefined && /^-[a-z]*c$/.test(option)

function nameOf(word: string): string {
  // Underscores count as dashes, as Node has it.
  const name = word.split('=')[0]!.replaceAll('_', '-')
  return process.allowedNodeEnvironmentFlags.has(name) || commandLineOnly.has(name) ? name : unlisted
}
