// The one table of who may import whom. A unit test enforces it over every file of src/ (type-only
// imports included), refuses cycles, and holds docs/architecture.md to the same table.

/** @type {Record<string, readonly string[]>} part -> the other parts it may import */
export const layers = {
  base: [],
  config: ['base'],
  telemetry: ['base'],
  auth: ['base'],
  link: ['base'],
  valkey: ['base'],
  postgres: ['base'],
  audit: ['base', 'postgres'],
  envelope: ['base'],
  wire: ['base', 'envelope'],
  storage: ['base', 'envelope', 'valkey', 'postgres'],
  hot: ['base', 'envelope', 'valkey'],
  rooms: ['base', 'envelope', 'wire', 'storage'],
  session: ['base', 'envelope', 'wire', 'auth', 'telemetry'],
  router: ['base', 'envelope', 'wire', 'auth', 'rooms', 'session', 'storage', 'hot', 'telemetry'],
  transport: ['base', 'envelope', 'wire', 'auth', 'session', 'router', 'telemetry'],
  relay: ['base', 'envelope', 'wire', 'auth', 'link', 'rooms', 'session', 'router', 'telemetry'],
  policy: ['base', 'wire', 'auth', 'telemetry'],
  shield: ['base', 'envelope', 'wire', 'auth', 'link', 'policy', 'rooms', 'session', 'transport', 'telemetry'],
  rules: ['base', 'config', 'auth', 'policy'],
  client: ['base', 'envelope', 'wire'],
  preflight: ['base', 'config', 'auth', 'rules', 'wire', 'envelope', 'client'],
  app: [
    'base',
    'config',
    'telemetry',
    'auth',
    'link',
    'valkey',
    'envelope',
    'wire',
    'storage',
    'hot',
    'rooms',
    'session',
    'router',
    'transport',
    'relay',
    'policy',
    'shield',
    'rules',
    'postgres',
    'audit',
  ],
  bin: ['base', 'config', 'auth', 'app', 'preflight', 'policy', 'client', 'envelope', 'wire', 'postgres', 'audit'],
}

/** Third-party and built-in packages that exactly one part may import: library -> part or file. */
export const soleImporters = {
  ws: ['transport', 'preflight'],
  jose: ['auth'],
  'prom-client': ['telemetry'],
  pino: ['base/logger.ts'],
  commander: ['bin'],
  '@nats-io/transport-node': ['link'],
  'node:sqlite': ['storage/embedded'],
  '@redis/client': ['valkey'],
  pg: ['postgres'],
}

/** Parts whose adapters are opened in one place only: others see just the port file. */
export const portOnly = {
  storage: { port: 'store.ts', mayOpen: ['app', 'storage'] },
  hot: { port: 'hot-state.ts', mayOpen: ['app', 'hot'] },
  link: { port: 'link.ts', mayOpen: ['app', 'link'] },
}
