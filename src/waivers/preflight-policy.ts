// What a site decides about its own preflight, apart from the environment that is judged: who may approve exceptions,
// and what its services have to offer.

/** A check of somebody else's that a site takes into its preflight (docs/preflight-plugins.md). */
export interface PluginEntry {
  /** As the policy has it; a relative one counts from the policy's folder. */
  readonly path: string
  /** Of the file: 64 lower-case hex digits. */
  readonly sha256: string
  /** `module`: TypeScript or JavaScript. `program`: an executable named arqon-check-…. */
  readonly kind: 'module' | 'program'
}

export interface PreflightPolicy {
  /** What the runbook only recommends (strict storage, L21) becomes `high`. */
  readonly hardened: boolean
  /** Names of people who may approve exceptions, to their Ed25519 public keys (`ed25519:` and base64 of 32 bytes). */
  readonly approvers: Readonly<Record<string, string>>
  /** Names of those whose signed results of the gates are taken in place of a run, to their Ed25519 public keys. */
  readonly attesters: Readonly<Record<string, string>>
  /** Ids of `critical` checks that may be waived beside those for which the runbook says so (L24, L34). */
  readonly waivable: readonly string[]
  /** Where this is; waivers name it as their scope. */
  readonly site?: string
  /** Processes of each program that will run. */
  readonly instances: number
  /** Must each NATS server of the list answer, or one? */
  readonly natsServers: 'all' | 'any'
  /** Replicas that Valkey should have; 0: a single node, declared. */
  readonly valkeyReplicas: number
  /** Standbys that Postgres should have; 0: a single node, declared. */
  readonly postgresStandbys: number
  /** Where `arqonbus projector backup` and `drill` put their files. */
  readonly backupFolder?: string
  /** Hours. */
  readonly backupMaxAge: number
  /** Days. */
  readonly restoreDrillMaxAge: number
  /** Who gets the tickets of a category: `dep.postgres` before `dep`; default: engineering. */
  readonly owners?: Readonly<Record<string, string>>
  /** Loaded in this order; default: none. */
  readonly plugins?: readonly PluginEntry[]
}

export const defaultPreflightPolicy: PreflightPolicy = {
  hardened: false,
  approvers: {},
  attesters: {},
  waivable: [],
  instances: 1,
  natsServers: 'all',
  valkeyReplicas: 0,
  postgresStandbys: 0,
  backupMaxAge: 26,
  restoreDrillMaxAge: 90,
  owners: {},
}
