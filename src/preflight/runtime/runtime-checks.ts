// Node, the installed tree, and the machine.
import type { Check } from '../check.ts'
import { type Host, thisHost } from './host.ts'
import { lockChecks } from './lock-checks.ts'
import { machineChecks } from './machine-checks.ts'
import { nodeChecks } from './node-checks.ts'
import { portChecks } from './port-checks.ts'
import { sourceChecks } from './source-checks.ts'

/** The checks as they look at one package on one machine. */
export function createRuntimeChecks(host: Host = thisHost): readonly Check[] {
  return [...nodeChecks(host), ...lockChecks(host), ...sourceChecks(host), ...machineChecks(host), ...portChecks(host)]
}

export const runtimeChecks: readonly Check[] = createRuntimeChecks()
