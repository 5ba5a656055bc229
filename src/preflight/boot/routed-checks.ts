// What Shield takes is carried (L57), proved where everything on NATS may be heard. The live phase asks a running system the
// same, as far as the rights of its user go.
import { type Applicability, type Check, defineCheck, type Worlds } from '../check.ts'
import { arrivals } from '../live/live-checks.ts'
import { judgeRouting } from '../live/live-judges.ts'
import { routedWorlds } from './routed-worlds.ts'
import type { Given } from './start-check.ts'
import { routeThrough } from './system.ts'

/** The certificate of production is for another name than this machine's. */
const withoutOwnTls = (given: Applicability): Applicability => ({
  name: `${given.name}-and-tls-before-shield`,
  test(ports) {
    const isOwn = ports.ctx.resolution.values.shieldTlsCertFile !== undefined
    return isOwn ? { holds: false, because: 'SHIELD_TLS_CERT_FILE is set' } : given.test(ports)
  },
})

export function routedCheck({ at, ...given }: Given): Check {
  return defineCheck({
    ...given,
    id: 'boot.routes-payload',
    title: 'The candidate carries what it takes, and nowhere else',
    proves:
      'On a NATS of its own, where an observer hears everything, a binary frame sent through Shield passes once, byte for byte, on the inbound subject of its tenant and of no other, then once on the way out; the bus, its history and a member at Shield get its payload once and unchanged, another tenant nothing. A Shield that echoes is found here, whatever a user of production may hear.',
    evidence: 'Frames that passed on NATS, and messages seen by the observers, up to a fence message.',
    fix: 'Look at the link between Shield and bus (docs/link.md); the output of both is in the incident bundle.',
    runbook: ['L57'],
    phase: 'boot',
    severity: 'blocker',
    class: 'regression',
    appliesWhen: withoutOwnTls(given.appliesWhen),
    requires: ['boot.starts-from-clean-tree'],
    shape: { ...arrivals, back: 'objects', kept: 'objects?', linkIn: 'objects' },
    probe: (ports, signal) => routeThrough({ ports, signal, host: at.host }),
    judge: judgeRouting,
    worlds: routedWorlds as Worlds<never>, // held to the shape when the check is proven
  })
}
