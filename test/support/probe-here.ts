// Probes without processes of their own, in turn for each resource as those have it: for tests of what probes find. What
// their processes are for - a deadline that holds, a trust store of their own - is tested with them.
import type { Environment } from '../../src/config/resolution.ts'
import { lookHere, type Prober } from '../../src/preflight/prober.ts'

export function probeHere(): Prober {
  const queues = new Map<string, Promise<unknown>>()
  return {
    answer(check, ports) {
      const look = () => lookHere(check, ports)
      if (check.resource === undefined) return look()
      const turn = (queues.get(check.resource) ?? Promise.resolve()).then(look, look)
      queues.set(check.resource, turn)
      return turn
    },
    close: () => Promise.resolve(),
  }
}

/** Of the process: what it trusts is settled when it starts. */
export function proberFor(env: Environment): { readonly prober?: Prober } {
  return env['NODE_EXTRA_CA_CERTS'] === undefined ? { prober: probeHere() } : {}
}
