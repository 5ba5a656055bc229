// The gates by name: what an attestation has to cover.

/** Suites of preflight.gates.json, in the order in which they run. */
export const suiteNames = [
  'unit',
  'regression',
  'integration',
  'adversarial',
  'e2e',
  'projector-integration',
  'projector-e2e',
  'shield-tests',
] as const

export const suiteIds: readonly string[] = suiteNames.map((name) => `gate.${name}`)

export const gateIds: readonly string[] = [
  'gate.isolated',
  'gate.install-clean',
  'gate.import-clean',
  'gate.typecheck',
  ...suiteIds,
  'gate.not-hollow',
]
