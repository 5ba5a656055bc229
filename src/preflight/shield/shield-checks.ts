// Checks of Shield beside its start-up rules. The descriptor of the frames themselves (SHIELD_SCHEMA_FILE) is not among
// them: only Shield's own loader may say what it makes of that file, and it does at its start.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Applicability, type Check, type CheckResult, defineCheck, judgeAll, type JudgePorts } from '../check.ts'
import { textIn } from '../json-fields.ts'
import { probeSchemas, type SchemaFacts } from './schema-probe.ts'
import { schemaWorlds } from './schema-worlds.ts'

const schemasInUse: Applicability = {
  name: 'schemas-in-use',
  test({ ctx }) {
    const { schemaSource } = ctx.resolution.values
    return { holds: schemaSource !== 'none', because: `SHIELD_SCHEMA_SOURCE=${schemaSource}` }
  },
}

/** What is missing is no fault of a schema. */
const missing: Readonly<Record<string, string>> = {
  BUCKET_MISSING: 'push the schemas (arqonbus schema push): that makes the bucket ARQON_SCHEMAS',
  JETSTREAM_MISSING: 'switch JetStream on: nats-server -js, or jetstream {} in its configuration, and for the account',
}
const repair = 'correct it and push it again: arqonbus schema check and schema push say what is wrong (docs/schemas.md)'

function judgeSchemas({ refused, about, digest, shapes }: SchemaFacts, { ctx }: JudgePorts): CheckResult {
  const variable = ctx.resolution.values.schemaSource === 'folder' ? 'SHIELD_SCHEMA_DIR' : 'NATS_URL'
  const finding = (code: string, found: string, fix: string): Finding => ({ code, variable, found, fix })
  if (refused !== '') {
    const result = judgeAll([finding(refused, about, missing[refused] ?? repair)])
    return result.status === 'fail' && missing[refused] !== undefined ? { ...result, class: 'dependency' } : result
  }
  if (shapes.length === 0) {
    const fix = 'push the schemas (arqonbus schema push), or set SHIELD_SCHEMA_SOURCE=none'
    return judgeAll([finding('NO_SCHEMAS', 'the map names no schema', fix)])
  }
  const fix = 'do not start Shield: report it with the schema; meanwhile an older version of either may do'
  const findings = shapes.flatMap((shape) => {
    const [accepted, rejected] = [namesIn(shape, 'accepted'), namesIn(shape, 'refused')]
    const where = `${textIn(shape, 'schema')} (${textIn(shape, 'message')})`
    return [
      ...(accepted.length > 0 ? [finding('ACCEPTS_INVALID', `${where} takes: ${accepted.join('; ')}`, fix)] : []),
      ...(rejected.length > 0 ? [finding('REFUSES_VALID', `${where} refuses: ${rejected.join('; ')}`, fix)] : []),
    ]
  })
  return judgeAll(findings, `digest ${digest}`, { digest })
}

/** A fact that is no list was not judged: that is not a pass. */
function namesIn(shape: JsonObject, name: string): readonly string[] {
  const names = shape[name]
  return Array.isArray(names) ? names.filter((item) => typeof item === 'string') : ['unknown']
}

export const shieldChecks: readonly Check[] = [
  defineCheck({
    id: 'shield.schema-loads',
    title: 'The schemas of payloads load, and judge',
    proves:
      'All schemas of SHIELD_SCHEMA_SOURCE load as a strict Shield loads them; each takes the samples that fit its message and refuses those that do not.',
    evidence: 'Digest of what was loaded, and for each schema the samples that were judged wrongly.',
    fix: 'The finding names the schema and what is wrong with it.',
    runbook: ['L34'],
    phase: 'deps',
    severity: 'critical',
    class: 'regression',
    requires: ['meta.config-valid', 'dep.nats.streams'],
    appliesWhen: schemasInUse,
    deadlineMs: 15_000,
    resource: 'nats',
    effects: [
      { kind: 'file', what: 'the folder SHIELD_SCHEMA_DIR' },
      { kind: 'net', what: 'or the bucket ARQON_SCHEMAS of NATS_URL' },
    ],
    hints: {
      FOLDER_UNREADABLE: 'set SHIELD_SCHEMA_DIR to a folder that the process may read',
      NO_PERMISSION: 'grant the user of NATS_URL what docs/schemas.md lists',
    },
    shape: { refused: 'string', about: 'string', digest: 'string', shapes: 'objects' },
    probe: probeSchemas,
    judge: judgeSchemas,
    worlds: schemaWorlds,
  }),
]
