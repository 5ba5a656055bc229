// Candidates with something planted in them, and the phase that is meant for each: it has to find it with all others off.
// Those of the phases gates and boot, which need projects and programs of their own, stand with the tests of these phases
// (docs/gates.md has the whole table).
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import type { Phase } from '../../../src/preflight/check.ts'
import { startEchoShield } from '../echo-shield.ts'
import { strongSecret } from '../environments.ts'
import type { CorpusLab, WorldChanges } from './lab.ts'

export interface Planted {
  readonly name: string
  readonly phase: Phase
  /** All that is found, by id: the codes. */
  readonly found: Readonly<Record<string, readonly string[]>>
  readonly plant: (lab: CorpusLab) => WorldChanges | Promise<WorldChanges>
}

const notOnNats = ['NOT_ON_NATS']

export const planted: readonly Planted[] = [
  {
    name: 'a weak secret',
    phase: 'static',
    found: { 'shield.jwt-secret-strong': ['TOO_PREDICTABLE'] },
    plant: () => ({ env: { JWT_SECRET: 'Kp2Vq9xW'.repeat(6) } }),
  },
  {
    name: 'a Shield that echoes, cut off from NATS',
    phase: 'live',
    found: {
      'live.protobuf-only': notOnNats,
      'live.schema-enforced': notOnNats,
      'live.shield-routes-payload': notOnNats,
      'live.tenant-isolation': notOnNats,
    },
    async plant(lab) {
      const echo = await startEchoShield(strongSecret)
      lab.closing.push(() => echo.close())
      return { live: { shield: echo.url } }
    },
  },
  {
    name: 'a gateway that says 101 to everybody and then closes',
    phase: 'live',
    found: {
      'live.shield-rejects-missing-token': ['LET_IN'],
      'live.shield-rejects-bad-tokens': ['LET_IN'],
      'live.shield-accepts-valid-token': ['CLOSED'],
    },
    async plant(lab) {
      const server = createServer()
      const sockets = new WebSocketServer({ server })
      sockets.on('connection', (socket) => socket.close(1008))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      lab.closing.push(
        () => server.close(),
        () => sockets.close(),
      )
      return { live: { shield: `ws://127.0.0.1:${(server.address() as { port: number }).port}/ws` } }
    },
  },
]
