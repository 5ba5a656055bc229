// Worlds of the carried payload: those of the live phase, on a NATS where everything may be heard.
import type { World, Worlds } from '../check.ts'
import { linkOut, linkSent, routing } from '../live/live-worlds.ts'

/** Where a world of the live phase says nothing of NATS, all passed there as it has to. */
const heard = <T extends World>(world: T): T =>
  world.facts === undefined ? world : { ...world, facts: { linkIn: linkSent, linkOut, ...world.facts } }

export const routedWorlds: Worlds = {
  passes: routing.passes.map((world) => heard(world)),
  fails: [
    ...routing.fails.map((world) => heard(world)),
    {
      name: 'the candidate did not start',
      stopped: { code: 'NO_CANDIDATE', observed: 'bus and Shield did not both start' },
      expect: { status: 'error', code: 'NO_CANDIDATE', class: 'regression' },
    },
  ],
  ignores: routing.ignores.map((world) => heard(world)),
  skips: [
    { name: 'development', env: { ARQONBUS_ENVIRONMENT: 'development' } },
    { name: 'tokens by key pair', env: { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' } },
    { name: 'TLS at Shield', env: { SHIELD_TLS_CERT_FILE: '/etc/arqonbus/shield.pem' } },
  ],
}
