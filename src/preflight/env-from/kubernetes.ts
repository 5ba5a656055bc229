// `k8s:FILE[#container]`: what the kubelet would give a container, from the manifests of one file. What only the cluster
// knows is an error: a variable nobody can judge is not judged as absent.
import { splitName } from './compose.ts'
import {
  badSource,
  readSource,
  type SourceFiles,
  type SourcePorts,
  type StartEnvironment,
  Variables,
} from './variables.ts'
import { type Place, readYaml } from './yaml-file.ts'

/** Throws USAGE: no such container, several and none named, a reference to what is not in the file. */
export function readManifest(
  source: string,
  rest: string,
  { files }: SourcePorts & { files: SourceFiles },
): StartEnvironment {
  const [path, wanted] = splitName(rest)
  const objects = readYaml(readSource(files, path, path), path).flatMap((document) =>
    document.at('kind').text === 'List' ? document.at('items').items() : [document],
  )
  const { container, namespace } = chosen(containersOf(objects), wanted, path)
  const variables = new Variables()
  for (const from of container.at('envFrom').items()) addAll(variables, from, { objects, namespace })
  for (const entry of container.at('env').items()) addOne(variables, entry, { objects, namespace })
  return { source, variables: variables.all(), argv: commandOf(container, variables) }
}

/** As far as the manifest says: what it leaves out, the image has. */
function commandOf(container: Place, variables: Variables): string[] {
  const words = [...container.at('command').items(), ...container.at('args').items()]
  return words.map(({ text = '' }) => expandReferences(text, variables))
}

interface Container {
  readonly name: string
  readonly container: Place
  readonly namespace: string | undefined
}

/** Where the pod's specification stands, by kind. */
const podPaths: Readonly<Record<string, readonly string[]>> = {
  Pod: ['spec'],
  Deployment: ['spec', 'template', 'spec'],
  StatefulSet: ['spec', 'template', 'spec'],
  DaemonSet: ['spec', 'template', 'spec'],
  ReplicaSet: ['spec', 'template', 'spec'],
  Job: ['spec', 'template', 'spec'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
}

function containersOf(objects: readonly Place[]): Container[] {
  return objects.flatMap((object) => {
    const path = podPaths[object.at('kind').text ?? '']
    if (path === undefined) return []
    const pod = path.reduce((place, name) => place.at(name), object)
    const namespace = object.at('metadata').at('namespace').text
    return pod
      .at('containers')
      .items()
      .map((container) => ({ name: container.at('name').text ?? '', container, namespace }))
  })
}

function chosen(all: readonly Container[], wanted: string | undefined, path: string): Container {
  const found = wanted === undefined ? all : all.filter(({ name }) => name === wanted)
  const [first] = found
  const names = all.map(({ name }) => name).join(', ')
  if (all.length === 0) throw badSource(`${path} has no containers`)
  if (first === undefined) throw badSource(`${path} has no container ${wanted}, but ${names}`)
  if (found.length > 1) throw badSource(`${path} has several containers (${names}): add #name of one that is unique`)
  return first
}

interface Scope {
  readonly objects: readonly Place[]
  readonly namespace: string | undefined
}

type Kind = 'ConfigMap' | 'Secret'

/** `envFrom`: every key of an object. */
function addAll(variables: Variables, from: Place, scope: Scope): void {
  const kind: Kind = from.at('secretRef').kind === 'nothing' ? 'ConfigMap' : 'Secret'
  const reference = from.at(kind === 'Secret' ? 'secretRef' : 'configMapRef')
  const prefix = from.at('prefix').text ?? ''
  const layer = new Variables()
  for (const { name, text, where } of keysOf(objectOf(reference, kind, scope), kind)) {
    layer.set(prefix + name, text, where)
  }
  variables.add(layer)
}

function addOne(variables: Variables, entry: Place, scope: Scope): void {
  const { where } = entry
  const name = entry.at('name').text
  if (name === undefined || name === '') throw badSource(`${where} has no name`)
  const from = entry.at('valueFrom')
  if (from.kind === 'nothing' || from.isNull) {
    const value = entry.at('value')
    if (value.kind !== 'nothing' && !value.isNull && !value.isString) {
      throw badSource(`${value.where}: the value of ${name} is no text, and the cluster refuses it: put it into quotes`)
    }
    variables.set(name, expandReferences(value.text ?? '', variables), where)
    return
  }
  const [reference] = from.entries()
  const kind = ({ secretKeyRef: 'Secret', configMapKeyRef: 'ConfigMap' } as const)[reference?.name ?? '']
  if (reference === undefined || kind === undefined) {
    const what = reference?.name ?? 'nothing'
    throw badSource(`${where}: ${name} comes from ${what}, which only the cluster can tell (--env-from pid:N reads it)`)
  }
  const key = reference.value.at('key').text
  const found = keysOf(objectOf(reference.value, kind, scope, name), kind).find((one) => one.name === key)
  if (found !== undefined) variables.set(name, found.text, where)
  else if (reference.value.at('optional').text !== 'true') {
    throw badSource(
      `${where}: ${name} wants the key ${key ?? '(none)'}, which ${reference.value.at('name').text} has not`,
    )
  }
}

/** Even an optional one may be in the cluster: what is not in the file is not known. */
function objectOf(reference: Place, kind: Kind, { objects, namespace }: Scope, variable?: string): Place {
  const name = reference.at('name').text
  const found = objects.find((object) => {
    const metadata = object.at('metadata')
    const theirs = metadata.at('namespace').text
    const isNear = namespace === undefined || theirs === undefined || theirs === namespace
    return object.at('kind').text === kind && metadata.at('name').text === name && isNear
  })
  if (found !== undefined) return found
  const who = variable === undefined ? 'envFrom' : variable
  throw badSource(`${reference.where}: ${who} needs the ${kind} ${name ?? '(none)'}, which is not in this file: add it`)
}

interface KeyText {
  readonly name: string
  readonly text: string
  readonly where: string
}

/** A secret's `stringData` goes over its `data`. */
function keysOf(object: Place, kind: Kind): KeyText[] {
  const keys = new Map<string, KeyText>()
  for (const { name, where, value } of object.at('data').entries()) {
    const text = kind === 'Secret' ? decode(value.text ?? '', name, where) : (value.text ?? '')
    keys.set(name, { name, text, where })
  }
  if (kind === 'Secret') {
    for (const { name, where, value } of object.at('stringData').entries()) {
      keys.set(name, { name, text: value.text ?? '', where })
    }
  }
  return [...keys.values()]
}

/** A newline at its end stays: the container would get it too. */
function decode(text: string, name: string, where: string): string {
  const plain = text.replaceAll(/\s/g, '')
  const bytes = Buffer.from(plain, 'base64')
  const bare = (base64: string): string => base64.replace(/=+$/, '')
  if (bare(bytes.toString('base64')) !== bare(plain))
    throw badSource(`${where}: ${name} is not base64 (content hidden)`)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw badSource(`${where}: ${name} is not text (content hidden)`)
  }
}

/** `$(NAME)` finds what stands before it; `$$(NAME)` and unknown names stay as text. */
function expandReferences(text: string, variables: Variables): string {
  return text.replaceAll(/\$\$|\$\(([^)]*)\)/g, (all, name: string | undefined) =>
    name === undefined ? '$' : (variables.get(name) ?? all),
  )
}
