// Worlds of shield.schema-loads.
import type { JsonObject } from '../../base/json.ts'
import type { FailingWorld, Worlds } from '../check.ts'
import type { SchemaFacts } from './schema-probe.ts'

const folder = { SHIELD_SCHEMA_SOURCE: 'folder', SHIELD_SCHEMA_DIR: '/etc/arqonbus/schemas' }
const bucket = { SHIELD_SCHEMA_SOURCE: 'nats' }
const good: JsonObject = { schema: 'v1.user', message: 'acme.v1.User', samples: 9, refused: [], accepted: [] }
const loaded = (...shapes: readonly JsonObject[]): SchemaFacts => ({ refused: '', about: '', digest: 'd1', shapes })

const refused = (
  reason: string,
  change: Partial<FailingWorld<SchemaFacts>['expect']> = {},
): FailingWorld<SchemaFacts> => ({
  name: `Shield would say ${reason}`,
  env: bucket,
  facts: { refused: reason, about: 'why', digest: '', shapes: [] },
  expect: { code: reason, ...change },
})

export const schemaWorlds: Worlds<SchemaFacts> = {
  passes: [
    { name: 'a folder', env: folder, facts: loaded(good, { ...good, schema: 'v1.other' }) },
    { name: 'a bucket', env: bucket, facts: loaded(good) },
  ],
  fails: [
    {
      name: 'one takes what it has to refuse',
      env: bucket,
      facts: loaded(good, { ...good, accepted: ['an unknown field'] }),
      expect: { code: 'ACCEPTS_INVALID', findings: ['NATS_URL ACCEPTS_INVALID'] },
    },
    {
      name: 'one refuses what it has to take',
      env: folder,
      facts: loaded({ ...good, refused: ['with every field'] }),
      expect: { code: 'REFUSES_VALID', findings: ['SHIELD_SCHEMA_DIR REFUSES_VALID'] },
    },
    {
      name: 'nobody says what was taken',
      env: bucket,
      facts: loaded({ schema: 'v1.user', message: 'acme.v1.User', refused: [] }),
      expect: { code: 'ACCEPTS_INVALID' },
    },
    {
      name: 'no schema at all',
      env: folder,
      facts: loaded(),
      expect: { code: 'NO_SCHEMAS', findings: ['SHIELD_SCHEMA_DIR NO_SCHEMAS'] },
    },
    refused('SCHEMA_MAP_INVALID'),
    refused('SCHEMA_HOSTILE'),
    refused('BUCKET_MISSING', { class: 'dependency' }),
    refused('JETSTREAM_MISSING', { class: 'dependency' }),
    {
      name: 'no folder',
      env: folder,
      stopped: { code: 'FOLDER_UNREADABLE', observed: 'ENOENT', step: 'read' },
      expect: { code: 'FOLDER_UNREADABLE', class: 'config' },
    },
    {
      name: 'the bucket is denied',
      env: bucket,
      stopped: { code: 'NO_PERMISSION', observed: 'denied', step: 'bucket' },
      expect: { code: 'NO_PERMISSION', class: 'config' },
    },
  ],
  ignores: [{ name: 'one schema for two rules', env: folder, facts: loaded(good, good) }],
}
