// `compose:FILE[#service]`: what `docker compose up` would give a service. The image's own variables are not seen.
import { dirname, isAbsolute, join } from 'node:path'
import { addDotEnv, addRawEnv } from './dot-env.ts'
import { interpolate, type Lookup } from './interpolate.ts'
import {
  badSource,
  isVariableName,
  readIfThere,
  readSource,
  type SourceFiles,
  type SourcePorts,
  type StartEnvironment,
  Variables,
} from './variables.ts'
import { type Place, readYaml } from './yaml-file.ts'

/** Throws USAGE: no such service, several and none named, a file or form that cannot be read. */
export function readCompose(
  source: string,
  rest: string,
  { env, files }: SourcePorts & { files: SourceFiles },
): StartEnvironment {
  const [path, wanted] = splitName(rest)
  const [document] = readYaml(readSource(files, path, path), path)
  if (document === undefined) throw badSource(`${path} has no services`)
  if (document.at('include').kind !== 'nothing') throw notRead(path, 'include')
  const service = chosen(document.at('services'), wanted, path)
  if (service.at('extends').kind !== 'nothing') throw notRead(service.where, 'extends')
  const lookup = outerLookup(path, env, files)
  const variables = new Variables()
  for (const entry of listOf(service.at('env_file'))) addEnvFile(variables, entry, path, lookup, files)
  addEnvironment(variables, service.at('environment'), lookup)
  const argv = ['entrypoint', 'command'].flatMap((name) => wordsOf(service.at(name), lookup))
  return { source, variables: variables.all(), argv }
}

/** A text is taken apart at blanks and quotes, as compose does it; what is left out, the image has. */
function wordsOf(place: Place, lookup: Lookup): string[] {
  const texts = place.kind === 'list' ? place.items() : [place]
  return texts.flatMap(({ text, where }) => {
    if (text === undefined) return []
    const word = interpolate(text, lookup, where)
    if (place.kind === 'list') return [word]
    return (word.match(/(?:"[^"]*"|'[^']*'|\S)+/g) ?? []).map((part) => part.replaceAll(/["']/g, ''))
  })
}

/** The last `#` ends the path. */
export function splitName(rest: string): [string, string | undefined] {
  const hash = rest.lastIndexOf('#')
  return hash === -1 ? [rest, undefined] : [rest.slice(0, hash), rest.slice(hash + 1)]
}

const notRead = (where: string, word: string): Error =>
  badSource(`${where}: ${word} is not read here; give the file that \`docker compose config\` prints`)

function chosen(services: Place, wanted: string | undefined, path: string): Place {
  const names = services.entries().map(({ name }) => name)
  if (names.length === 0) throw badSource(`${path} has no services`)
  const name = wanted ?? (names.length === 1 ? names[0] : undefined)
  if (name === undefined) throw badSource(`${path} has several services: add #${names.join(' or #')}`)
  if (!names.includes(name)) throw badSource(`${path} has no service ${name}, but ${names.join(', ')}`)
  return services.at(name)
}

/** The shell of whoever starts it, over the `.env` beside the file. */
function outerLookup(path: string, env: SourcePorts['env'], files: SourceFiles): Lookup {
  const dotEnv = join(dirname(path), '.env')
  const variables = new Variables()
  const shell: Lookup = (name) => env[name]
  const text = readIfThere(files, dotEnv, dotEnv)
  if (text !== undefined) addDotEnv(variables, text, dotEnv, shell)
  return (name) => env[name] ?? variables.get(name)
}

/** One, or several. */
const listOf = (place: Place): readonly Place[] =>
  place.kind === 'nothing' || place.isNull ? [] : place.kind === 'list' ? place.items() : [place]

function addEnvFile(variables: Variables, entry: Place, composePath: string, lookup: Lookup, files: SourceFiles): void {
  const written = entry.kind === 'map' ? entry.at('path').text : entry.text
  if (written === undefined) throw badSource(`${entry.where} names no file`)
  const name = interpolate(written, lookup, entry.where)
  const path = isAbsolute(name) ? name : join(dirname(composePath), name)
  const label = `${path} (env_file in ${entry.where})`
  const text = entry.at('required').text === 'false' ? readIfThere(files, path, label) : readSource(files, path, label)
  if (text === undefined) return
  const layer = new Variables()
  if (entry.at('format').text === 'raw') addRawEnv(layer, text, path)
  else addDotEnv(layer, text, path, lookup)
  variables.add(layer)
}

function addEnvironment(variables: Variables, environment: Place, lookup: Lookup): void {
  if (environment.kind === 'nothing' || environment.isNull) return
  if (environment.kind === 'map') {
    for (const { name, where, value } of environment.entries()) add(name, value.text, where, value)
    return
  }
  if (environment.kind !== 'list') throw badSource(`${environment.where}: environment is a map or a list`)
  for (const item of environment.items()) {
    const line = item.text ?? ''
    const equals = line.indexOf('=')
    if (equals === -1) add(line, undefined, item.where, item)
    else add(line.slice(0, equals), line.slice(equals + 1), item.where, item)
  }

  function add(name: string, text: string | undefined, where: string, { kind }: Place): void {
    if (!isVariableName(name) || (kind !== 'text' && kind !== 'nothing')) {
      throw badSource(`${where} is not a name with a text (content hidden)`)
    }
    // A name alone is taken over from the shell.
    const value = text === undefined ? lookup(name) : interpolate(text, lookup, where)
    if (value !== undefined) variables.set(name, value, where)
  }
}
