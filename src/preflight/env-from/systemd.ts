// `systemd:NAME`: what the service manager would start the unit with. Read from its files, not asked from a running one,
// so that a change that waits for `daemon-reload` is judged too.
import { basename, dirname } from 'node:path'
import { addUnitEnvFile } from './unit-env-file.ts'
import { expandSpecifiers, parseUnit, type Setting, unitWords } from './unit-words.ts'
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

/** In the order in which systemd looks. */
const searchPath = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
]
const managerConf = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map((folder) => `${folder}/systemd`)

interface UnitPorts {
  readonly files: SourceFiles
  readonly root: string
}

/** Throws USAGE: no such unit, a unit that is masked, a line or a specifier that cannot be understood. */
export function readUnit(
  source: string,
  name: string,
  { files, root = '' }: SourcePorts & { files: SourceFiles },
): StartEnvironment {
  const unit = /\.[a-z]+$/.test(name) ? name : `${name}.service`
  if (!/^[A-Za-z0-9:_.@\\-]+\.service$/.test(unit)) throw badSource(`${source}: not the name of a service`)
  const ports = { files, root }
  const settings = [...mainFile(unit, ports), ...dropIns(unit, ports)].filter(({ section }) => section === 'Service')
  const variables = new Variables()
  variables.add(managerDefaults(ports))
  variables.add(passed(settings, unit, ports))
  variables.add(assigned(settings, unit))
  variables.add(fromFiles(settings, unit, ports))
  for (const { text, where } of wordsOf(settings, 'UnsetEnvironment', unit)) {
    const equals = text.indexOf('=')
    if (equals === -1) variables.remove(text)
    else variables.remove(text.slice(0, equals), text.slice(equals + 1))
    if (text.startsWith('=')) throw badSource(`${where} takes no name away`)
  }
  const command = ofName(settings, 'ExecStart').at(-1)
  return {
    source,
    variables: variables.all(),
    ...(command !== undefined && { argv: commandWords(command, unit) }),
  }
}

const templateOf = (unit: string): string | undefined => (unit.includes('@') ? unit.replace(/@.*\./, '@.') : undefined)

function mainFile(unit: string, { files, root }: UnitPorts): Setting[] {
  for (const name of [unit, templateOf(unit)]) {
    if (name === undefined) continue
    for (const folder of searchPath) {
      const path = `${folder}/${name}`
      const text = readIfThere(files, root + path, path)
      if (text === undefined) continue
      if (text === '') throw badSource(`${path} is empty: the unit is masked and does not start`)
      return parseUnit(text, path)
    }
  }
  throw badSource(`there is no unit ${unit} in ${searchPath.slice(0, -1).join(', ')}`)
}

/**
 * Folders whose files go over the unit's own: of the unit, its template, each shortened form (`a-.service.d`), and of all
 * services. Of files with one name the first is taken; all are applied in the order of their names.
 */
function dropIns(unit: string, ports: UnitPorts): Setting[] {
  const folders = searchPath.flatMap((folder) => dropInNames(unit).map((name) => `${folder}/${name}.d`))
  return confFiles([...folders, ...searchPath.map((folder) => `${folder}/service.d`)], ports)
}

function dropInNames(unit: string): string[] {
  const stem = unit.replace(/\.service$/, '').replace(/@.*$/, '')
  const dashes = [...stem.matchAll(/-/g)].map(({ index }) => `${stem.slice(0, index + 1)}.service`)
  const template = templateOf(unit)
  return [unit, ...(template === undefined ? [] : [template]), ...dashes.reverse()].filter(
    (name, index, all) => all.indexOf(name) === index,
  )
}

function confFiles(folders: readonly string[], { files, root }: UnitPorts): Setting[] {
  const paths = new Map<string, string>()
  for (const folder of folders) {
    for (const name of files.list(root + folder)) {
      if (name.endsWith('.conf') && !paths.has(name)) paths.set(name, `${folder}/${name}`)
    }
  }
  return [...paths]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, path]) => parseUnit(readSource(files, root + path, path), path))
}

/** An empty value forgets what came before. */
function ofName(settings: readonly Setting[], name: string): Setting[] {
  const all = settings.filter((setting) => setting.name === name)
  return all.slice(all.findLastIndex(({ value }) => value === '') + 1)
}

function wordsOf(settings: readonly Setting[], name: string, unit: string): { text: string; where: string }[] {
  return ofName(settings, name).flatMap(({ value, where }) =>
    unitWords(expandSpecifiers(value, unit, where), where).map((text) => ({ text, where })),
  )
}

function assigned(settings: readonly Setting[], unit: string, name = 'Environment'): Variables {
  const variables = new Variables()
  for (const { text, where } of wordsOf(settings, name, unit)) {
    const equals = text.indexOf('=')
    const variable = text.slice(0, Math.max(0, equals))
    if (!isVariableName(variable)) {
      throw badSource(`${where} has a word that is not NAME=VALUE (content hidden): are there quotes around the whole?`)
    }
    variables.set(variable, text.slice(equals + 1), where)
  }
  return variables
}

/** DefaultEnvironment= goes to every service. */
function managerDefaults(ports: UnitPorts): Variables {
  const [first = ''] = managerConf
  const path = `${first}/system.conf`
  const own = parseUnit(readIfThere(ports.files, ports.root + path, path) ?? '', path)
  const settings = [
    ...own,
    ...confFiles(
      managerConf.map((folder) => `${folder}/system.conf.d`),
      ports,
    ),
  ]
  return assigned(
    settings.filter(({ section }) => section === 'Manager'),
    'system.conf',
    'DefaultEnvironment',
  )
}

/** Taken over from the manager itself, whose environment its process has. */
function passed(settings: readonly Setting[], unit: string, { files, root }: UnitPorts): Variables {
  const variables = new Variables()
  const words = wordsOf(settings, 'PassEnvironment', unit)
  if (words.length === 0) return variables
  const path = '/proc/1/environ'
  const ofManager = environOf(readSource(files, root + path, `PassEnvironment= in ${words[0]!.where}: ${path}`))
  for (const { text, where } of words) {
    const value = ofManager.get(text)
    if (value !== undefined) variables.set(text, value, where)
  }
  return variables
}

/** `NAME=VALUE` texts, each ended by a zero byte. */
export function environOf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const entry of text.split('\0')) {
    const equals = entry.indexOf('=')
    if (equals > 0 && !found.has(entry.slice(0, equals))) found.set(entry.slice(0, equals), entry.slice(equals + 1))
  }
  return found
}

function fromFiles(settings: readonly Setting[], unit: string, { files, root }: UnitPorts): Variables {
  const variables = new Variables()
  for (const { value, where } of ofName(settings, 'EnvironmentFile')) {
    const isOptional = value.startsWith('-')
    const pattern = expandSpecifiers(isOptional ? value.slice(1) : value, unit, where)
    if (!pattern.startsWith('/')) throw badSource(`${where}: EnvironmentFile= takes an absolute path`)
    const paths = /[*?[]/.test(pattern) ? matching(pattern, where, { files, root }) : [pattern]
    if (paths.length === 0 && !isOptional) throw badSource(`${where}: no file matches ${pattern}`)
    for (const path of paths) {
      const label = `${path} (EnvironmentFile= in ${where})`
      const text = isOptional ? readIfThere(files, root + path, label) : readSource(files, root + path, label)
      if (text !== undefined) addUnitEnvFile(variables, text, path)
    }
  }
  return variables
}

/** Stars in the last part of the path, as they are used. */
function matching(pattern: string, where: string, { files, root }: UnitPorts): string[] {
  const folder = dirname(pattern)
  if (/[*?[]/.test(folder)) throw badSource(`${where}: a pattern for folders is not read here; name the file`)
  const form = basename(pattern)
    .replaceAll(/[.+^${}()|\\]/g, '\\$&')
    .replaceAll('*', '[^/]*')
    .replaceAll('?', '[^/]')
    .replaceAll('[!', '[^')
  const names = files.list(root + folder).filter((name) => new RegExp(`^${form}$`).test(name))
  return names.filter((name) => !name.startsWith('.') || form.startsWith('\\.')).map((name) => `${folder}/${name}`)
}

/** Without the marks that say how to run it. */
function commandWords({ value, where }: Setting, unit: string): string[] {
  return unitWords(expandSpecifiers(value.replace(/^[-@:+!]+/, ''), unit, where), where)
}
