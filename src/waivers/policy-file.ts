// Reads the policy of a site's preflight: who may approve exceptions, and what its services have to offer. As strict as
// waivers are read; only the schema has to be there, all else has its default.
import { defaultPreflightPolicy, type PluginEntry, type PreflightPolicy } from './preflight-policy.ts'
import { isKeyText } from './sign.ts'
import { booleanOf, Fields, formOf, integerOf, itemsOf, type Place, Problems, readYaml, textOf } from './strict-yaml.ts'
import { checkForm, nameForm } from './waiver-file.ts'
import { personOf } from './person.ts'

export const policySchema = 'arqonbus/preflight-policy/1'

const mostDays = 3_660
const mostOwnerLetters = 200
const mostPathLetters = 4_096
/** What stands before the last dot of ids: `dep.postgres`, `dep`. */
const categoryForm = /^[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*$/

/** Throws CONFIG_INVALID (PREFLIGHT_POLICY_INVALID) with every problem. `fileName` is for the message. */
export function parsePreflightPolicy(bytes: Uint8Array, fileName: string): PreflightPolicy {
  const problems = new Problems()
  const policy = readPolicy(readYaml(bytes, problems), problems)
  problems.throwIfAny('PREFLIGHT_POLICY_INVALID', fileName)
  return policy
}

function readPolicy(root: Place | undefined, problems: Problems): PreflightPolicy {
  if (root === undefined) return defaultPreflightPolicy
  const fields = new Fields(root, problems)
  const schema = fields.required('schema')
  if (schema !== undefined && schema.value !== policySchema) problems.add(schema, `not ${policySchema}`)
  const site = formOf(fields.optional('site'), problems, nameForm, 'the name of a site')
  const plugins = fields.optional('plugins')
  const number = (
    name: 'instances' | 'valkeyReplicas' | 'postgresStandbys' | 'backupMaxAge' | 'restoreDrillMaxAge',
    min: number,
    max: number,
  ): number => integerOf(fields.optional(name), problems, min, max) ?? defaultPreflightPolicy[name]
  const backupFolder = textOf(fields.optional('backupFolder'), problems, mostPathLetters)
  const policy: PreflightPolicy = {
    hardened: booleanOf(fields.optional('hardened'), problems) ?? defaultPreflightPolicy.hardened,
    approvers: readKeys(fields.optional('approvers'), problems, 'approver'),
    attesters: readKeys(fields.optional('attesters'), problems, 'attester'),
    waivable: readWaivable(fields.optional('waivable'), problems),
    ...(site !== undefined && { site }),
    instances: number('instances', 1, 1_000),
    natsServers: (formOf(fields.optional('natsServers'), problems, /^(?:all|any)$/, 'all or any') ??
      defaultPreflightPolicy.natsServers) as PreflightPolicy['natsServers'],
    valkeyReplicas: number('valkeyReplicas', 0, 100),
    postgresStandbys: number('postgresStandbys', 0, 100),
    ...(backupFolder !== undefined && { backupFolder }),
    backupMaxAge: number('backupMaxAge', 1, mostDays * 24),
    restoreDrillMaxAge: number('restoreDrillMaxAge', 1, mostDays),
    owners: readOwners(fields.optional('owners'), problems),
    ...(plugins !== undefined && { plugins: readPlugins(plugins, problems) }),
  }
  fields.end()
  return policy
}

/** A person has one name and one key: else one could approve twice. */
function readKeys(place: Place | undefined, problems: Problems, role: string): Record<string, string> {
  const named: Record<string, string> = {}
  if (place === undefined) return named
  if (!(place.value instanceof Map)) return problems.add(place, 'not a map of names to keys') ?? named
  const persons = new Set<string>()
  const keys = new Set<string>()
  for (const [name, keyPlace] of place.value as ReadonlyMap<string, Place>) {
    if (!nameForm.test(name)) problems.add(keyPlace, "not a person's name (letters, digits, . _ + @ -)")
    if (!isKeyText(keyPlace.value)) {
      problems.add(keyPlace, 'not ed25519: and base64 of 32 bytes')
      continue
    }
    if (keys.has(keyPlace.value)) problems.add(keyPlace, `the key of another ${role}`)
    if (persons.has(personOf(name))) problems.add(keyPlace, `another name of an ${role} who is there already`)
    keys.add(keyPlace.value)
    persons.add(personOf(name))
    Object.defineProperty(named, name, { value: keyPlace.value, enumerable: true })
  }
  return named
}

/** Who gets the tickets of a category: a name, a team, an address, as the tracker knows it. */
function readOwners(place: Place | undefined, problems: Problems): Record<string, string> {
  const owners: Record<string, string> = {}
  if (place === undefined) return owners
  if (!(place.value instanceof Map)) return problems.add(place, 'not a map of categories to owners') ?? owners
  for (const [category, ownerPlace] of place.value as ReadonlyMap<string, Place>) {
    if (!categoryForm.test(category)) problems.add(ownerPlace, 'not a category of checks (dep.postgres, shield)')
    const owner = textOf(ownerPlace, problems, mostOwnerLetters)
    if (owner !== undefined) Object.defineProperty(owners, category, { value: owner, enumerable: true })
  }
  return owners
}

function readWaivable(place: Place | undefined, problems: Problems): string[] {
  const ids = itemsOf(place, problems).map(
    (item) => [item, formOf(item, problems, checkForm, 'the id of a check')] as const,
  )
  const seen = new Set<string>()
  for (const [item, id] of ids) {
    if (id === undefined) continue
    if (seen.has(id)) problems.add(item, `${id} is there twice`)
    seen.add(id)
  }
  return [...seen]
}

const kindOf: Readonly<Record<string, PluginEntry['kind']>> = { module: 'module', program: 'program' }

/** A file is listed once, whatever it is called. */
function readPlugins(place: Place, problems: Problems): PluginEntry[] {
  const seen = new Set<string>()
  return itemsOf(place, problems).flatMap((item) => {
    const fields = new Fields(item, problems)
    const path = textOf(fields.required('path'), problems, 4_096)
    const digest = fields.required('sha256')
    const sha256 = formOf(digest, problems, /^[0-9a-f]{64}$/, '64 lower-case hex digits')
    const kind = kindOf[formOf(fields.required('kind'), problems, /^(?:module|program)$/, 'module or program') ?? '']
    fields.end()
    if (path === undefined || sha256 === undefined || kind === undefined) return []
    if (seen.has(path) || seen.has(sha256)) problems.add(item, 'a plug-in that is there already')
    seen.add(path).add(sha256)
    return [{ path, sha256, kind }]
  })
}
