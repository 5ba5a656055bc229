// Reads the policy of a site's preflight: who may approve exceptions, and what its services have to offer. As strict as
// waivers are read; only the schema has to be there, all else has its default.
import { defaultPreflightPolicy, type PreflightPolicy } from './preflight-policy.ts'
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
  const number = (
    name: 'instances' | 'valkeyReplicas' | 'postgresStandbys' | 'backupMaxAge' | 'restoreDrillMaxAge',
    min: number,
    max: number,
  ): number => integerOf(fields.optional(name), problems, min, max) ?? defaultPreflightPolicy[name]
  const backupFolder = textOf(fields.optional('backupFolder'), problems, mostPathLetters)
  const policy: PreflightPolicy = {
    hardened: booleanOf(fields.optional('hardened'), problems) ?? defaultPreflightPolicy.hardened,
    approvers: readApprovers(fields.optional('approvers'), problems),
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
  }
  fields.end()
  return policy
}

/** A person has one name and one key: else one could approve twice. */
function readApprovers(place: Place | undefined, problems: Problems): Record<string, string> {
  const approvers: Record<string, string> = {}
  if (place === undefined) return approvers
  if (!(place.value instanceof Map)) return problems.add(place, 'not a map of names to keys') ?? approvers
  const persons = new Set<string>()
  const keys = new Set<string>()
  for (const [name, keyPlace] of place.value as ReadonlyMap<string, Place>) {
    if (!nameForm.test(name)) problems.add(keyPlace, "not a person's name (letters, digits, . _ + @ -)")
    if (!isKeyText(keyPlace.value)) {
      problems.add(keyPlace, 'not ed25519: and base64 of 32 bytes')
      continue
    }
    if (keys.has(keyPlace.value)) problems.add(keyPlace, 'the key of another approver')
    if (persons.has(personOf(name))) problems.add(keyPlace, 'another name of an approver who is there already')
    keys.add(keyPlace.value)
    persons.add(personOf(name))
    Object.defineProperty(approvers, name, { value: keyPlace.value, enumerable: true })
  }
  return approvers
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
