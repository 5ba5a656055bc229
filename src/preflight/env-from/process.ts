// `pid:N`: what a running process was started with. What it has set since stands nowhere.
import { environOf } from './systemd.ts'
import {
  badSource,
  readSource,
  type SourceFiles,
  type SourcePorts,
  type StartEnvironment,
  Variables,
} from './variables.ts'

/** Throws USAGE: no such process, one of somebody else, or one without an environment of its own. */
export function readProcess(
  source: string,
  id: string,
  { files, root = '' }: SourcePorts & { files: SourceFiles },
): StartEnvironment {
  if (!/^[1-9][0-9]{0,9}$/.test(id)) throw badSource(`${source}: not the id of a process`)
  const read = (name: string): string =>
    readSource(files, `${root}/proc/${id}/${name}`, `${source} (/proc/${id}/${name})`)
  const environ = read('environ')
  const argv = read('cmdline').replace(/\0$/, '').split('\0')
  if (environ === '' && argv.join('') === '') throw badSource(`${source} has ended, or belongs to the kernel`)
  const variables = new Variables()
  for (const [name, text] of environOf(environ)) variables.set(name, text, source)
  return { source, variables: variables.all(), argv }
}
