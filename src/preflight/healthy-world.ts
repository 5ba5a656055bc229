// The production environment in which nothing is wrong. Worlds say what differs from it.
import { createHash } from 'node:crypto'
import type { Build } from '../certificate/build.ts'
import type { Environment } from '../config/resolution.ts'
import type { FileFacts } from '../rules/rule.ts'
import { createRuleContext } from '../rules/context.ts'
import { defaultPreflightPolicy } from '../waivers/preflight-policy.ts'
import type { JudgePorts, World } from './check.ts'
import { parseTargets } from './targets.ts'

/** Computed, so that no secret stands in the source; strong, and published by nobody. */
export const healthySecret = createHash('sha512').update('a secret of the preflight’s own worlds').digest('base64url')

/** A key that nobody has the other half of. */
export const healthyPublicKey = `ed25519:${createHash('sha256').update('a key of the preflight’s own worlds').digest('base64')}`

/** In place of the real one, which takes time to read and changes with every line. */
export const healthyBuild: Build = {
  artefact: `sha256:${'a'.repeat(64)}`,
  lock: `sha256:${'b'.repeat(64)}`,
  node: '24.0.0',
  catalogue: `sha256:${'c'.repeat(64)}`,
  runbook: `sha256:${'d'.repeat(64)}`,
}

export const healthyEnvironment: Environment = {
  ARQONBUS_ENVIRONMENT: 'production',
  ARQONBUS_PREFLIGHT_PUBLIC_KEY: healthyPublicKey,
  ARQONBUS_SERVER_HOST: '10.0.0.5',
  ARQONBUS_SERVER_PORT: '9100',
  ARQONBUS_HTTP_HOST: '10.0.0.5',
  ARQONBUS_HTTP_PORT: '8080',
  ARQONBUS_TELEMETRY_HOST: '10.0.0.5',
  ARQONBUS_TELEMETRY_PORT: '8081',
  ARQONBUS_STORAGE_MODE: 'strict',
  ARQONBUS_STORAGE_BACKEND: 'valkey',
  ARQONBUS_ENABLE_PERSISTENCE: 'true',
  ARQONBUS_VALKEY_URL: 'rediss://arqon:a-password@valkey.internal:6379/0',
  ARQONBUS_POSTGRES_URL: 'postgresql://arqon:a-password@db.internal:5432/arqonbus?sslmode=verify-full',
  ARQONBUS_INFRA_PROTOCOL: 'protobuf',
  ARQONBUS_ALLOW_JSON_INFRA: 'false',
  JWT_SECRET: healthySecret,
  NATS_URL: 'tls://arqon:a-password@nats.internal:4222',
  ARQON_SCHEMA_STRICT: 'true',
  SHIELD_HOST: '10.0.0.5',
  SHIELD_PORT: '4000',
  SHIELD_METRICS_HOST: '10.0.0.5',
  SHIELD_METRICS_PORT: '9090',
}

/** The instant of worlds that name none. */
const healthyNow = '2026-02-19T12:00:00.000Z'

const made = new WeakMap<object, JudgePorts>()

/** What a judge sees in a world. Nothing of the machine is in it. */
export function portsOfWorld(world: World<never> | World): JudgePorts {
  const ports = made.get(world) ?? makePorts(world)
  made.set(world, ports) // worlds are data, judged over and over by the mutation run
  return ports
}

function makePorts(world: World<never> | World): JudgePorts {
  const files = world.files ?? {}
  const facts: FileFacts = {
    mode(path) {
      if (typeof path !== 'string') throw new TypeError('the mode of no path') // as the system does
      return files[path] === undefined ? undefined : (files[path].mode ?? 0o600)
    },
    isReadable: (path) => files[path] !== undefined,
    read(path, maxBytes) {
      const text = files[path]?.text
      return text === undefined ? undefined : Buffer.from(text, 'utf8').subarray(0, maxBytes + 1)
    },
  }
  return {
    ctx: createRuleContext(
      { ...healthyEnvironment, ...world.env },
      {
        ...(world.asked !== undefined && { asked: world.asked }),
        ...(world.programs !== undefined && { programs: world.programs }),
        files: facts,
        localAddresses: world.localAddresses ?? ['10.0.0.5', '127.0.0.1'],
        readFile(path) {
          const text = files[path]?.text
          if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
          return text
        },
      },
    ),
    targets: world.targets === undefined ? {} : parseTargets(world.targets),
    policy: { ...defaultPreflightPolicy, ...world.policy },
    now: Date.parse(world.now ?? healthyNow),
  }
}
