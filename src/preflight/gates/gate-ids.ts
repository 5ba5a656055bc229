// The gates by name, which an attestation has to cover, and their deadlines.

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

const minuteMs = 60_000
/** How long each may take. */
export const suiteMs = 20 * minuteMs
export const installMs = 5 * minuteMs
export const importMs = 5 * minuteMs
export const typecheckMs = 5 * minuteMs
