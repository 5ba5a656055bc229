// `arqonbus schema`: the schemas of payloads, in a folder or in the bucket ARQON_SCHEMAS of the configured NATS.
import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { openSchemaSource } from '../../app/schema-source.ts'
import { isBusError } from '../../base/errors.ts'
import { silentLogger } from '../../base/logger.ts'
import { problemsOf } from '../../config/load.ts'
import { describeProblem } from '../../config/resolution.ts'
import { resolveKeys } from '../../config/resolve.ts'
import type { SchemaRegistryConfig } from '../../config/shapes.ts'
import { planPush, type PushPlan } from '../../schemas/push.ts'
import { loadRegistry, parseMap, type SchemaFiles, type SchemaRule } from '../../schemas/registry.ts'
import type { SchemaSource } from '../../schemas/source.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintableJson, toPrintableWord } from '../terminal.ts'

interface WhereOptions {
  readonly dir?: string
  readonly json?: boolean
}

interface SetOptions extends WhereOptions {
  readonly id: string
  readonly message?: string
}

interface PushOptions extends SetOptions {
  readonly subject?: string
  readonly eventType?: string
  readonly command?: string
  readonly required?: string
  readonly force?: boolean
}

export function schemaCommand(terminal: Terminal): Command {
  const withPlace = (command: Command): Command =>
    command
      .option('--dir <folder>', 'the schemas of this folder; SHIELD_SCHEMA_DIR when absent, else those in NATS_URL')
      .option('--json', 'print as JSON')
  const withSet = (command: Command): Command =>
    withPlace(command)
      .argument('<file>', 'a serialised FileDescriptorSet')
      .requiredOption('--id <id>', 'the id of the schema, such as v1.events.user_created')
      .option('--message <name>', 'full name of the message; the one known under the id when absent')
  const push = withSet(new Command('push'))
    .description('Add a schema or its next version; refuses (1) what breaks the version before')
    .option('--subject <pattern>', 'messages to these subjects have to fit it, such as out.t.acme.r.users.*')
    .option('--event-type <text>', 'messages whose payload has this event_type have to fit it')
    .option('--command <name>', 'the args of this command have to fit it')
    .option('--required <fields>', 'comma-separated fields of the message that must be there')
    .option('--force', 'push although it breaks the version before')
    .action((file: string, options: PushOptions) => pushSchema(file, options, terminal))
  const check = withSet(new Command('check'))
    .description('Say what a push would break; writes nothing, exits with 1 when something')
    .action((file: string, options: SetOptions) => checkSchema(file, options, terminal))
  const list = withPlace(new Command('list'))
    .description('Print the schemas and the rules, in the order in which rules are tried')
    .action((options: WhereOptions) => listSchemas(options, terminal))
  const map = withPlace(new Command('map'))
    .description('Print the map of schemas and rules, or put that of a file in its place')
    .argument('[file]', 'the new map, as JSON')
    .action((file: string | undefined, options: WhereOptions) => replaceMap(file, options, terminal))
  return new Command('schema')
    .description('Keep the schemas of payloads that Shield judges by (docs/schemas.md)')
    .addCommand(push)
    .addCommand(check)
    .addCommand(list)
    .addCommand(map)
    .addHelpText(
      'after',
      `
Examples:
  buf build -o user.binpb --as-file-descriptor-set
  arqonbus schema check user.binpb --id v1.events.user_created
  arqonbus schema push user.binpb --id v1.events.user_created --message acme.v1.UserCreated \\
    --subject 'out.t.acme.r.users.*' --required user_id
  arqonbus schema list --json`,
    )
}

async function pushSchema(file: string, options: PushOptions, terminal: Terminal): Promise<void> {
  const { id, json } = options
  await withSource(options, terminal, async (source) => {
    const set = await readFileOr(file)
    const plan = planned(await read(source), set, options)
    const isRefused = plan.breaking.length > 0 && options.force !== true
    if (!isRefused && !plan.isUnchanged) await source.write({ map: plan.map, set: { id, bytes: set } })
    report(plan, options, terminal, { pushed: !isRefused && !plan.isUnchanged })
    if (isRefused) {
      throw new ExitError(
        exitCodes.failure,
        `${id} would break ${plan.breaking.length} things of version ${plan.version - 1}; nothing was pushed`,
        'Push it under another id, so that both versions can be used, or repeat with --force.',
      )
    }
    if (json !== true) {
      terminal.out(plan.isUnchanged ? `${id} is there already` : `${id} version ${plan.version} is in ${source.name}`)
    }
  })
}

async function checkSchema(file: string, options: SetOptions, terminal: Terminal): Promise<void> {
  await withSource(options, terminal, async (source) => {
    const plan = planned(await read(source), await readFileOr(file), options)
    report(plan, options, terminal, { pushed: false })
    if (plan.breaking.length > 0) {
      throw new ExitError(exitCodes.failure, `${options.id} would break ${plan.breaking.length} things`)
    }
    if (options.json !== true) terminal.out(`${options.id}: nothing breaks`)
  })
}

function planned(files: SchemaFiles, set: Uint8Array, options: PushOptions): PushPlan {
  const { id, message, subject, eventType, command, required } = options
  const names = required?.split(',').filter((name) => name !== '')
  const hasRule = subject !== undefined || eventType !== undefined || command !== undefined
  if (!hasRule && names !== undefined) {
    throw new ExitError(exitCodes.usage, '--required belongs to a rule: give --subject, --event-type or --command too')
  }
  const rule: Omit<SchemaRule, 'schema'> = {
    ...(subject !== undefined && { subject }),
    ...(eventType !== undefined && { event_type: eventType }),
    ...(command !== undefined && { command }),
    ...(names !== undefined && names.length > 0 && { required: names }),
  }
  return planPush(files, { id, set, message, rule: hasRule ? rule : undefined })
}

function report(plan: PushPlan, { id, json }: SetOptions, terminal: Terminal, { pushed }: { pushed: boolean }): void {
  const { message, version, breaking } = plan
  if (json === true) {
    terminal.out(toPrintableJson({ ok: breaking.length === 0, id, message, version, pushed, breaking }))
  } else for (const { rule, place, text } of breaking) terminal.out(`${rule}  ${place}  ${text}`)
}

async function listSchemas(options: WhereOptions, terminal: Terminal): Promise<void> {
  await withSource(options, terminal, async (source) => {
    const { digest, map } = loadRegistry(await read(source))
    if (options.json === true) {
      terminal.out(toPrintableJson({ source: source.name, digest, ...map }))
      return
    }
    for (const [id, { message, version }] of Object.entries(map.schemas)) terminal.out(`${id}  ${version}  ${message}`)
    for (const { schema, required, ...when } of map.rules) {
      const conditions = Object.entries(when).map(([name, value]) => `${name} ${toPrintableWord(value)}`)
      const rest = required === undefined ? '' : `, with ${required.join(', ')}`
      terminal.out(`when ${conditions.join(' and ')}: ${schema}${rest}`)
    }
    terminal.out(`otherwise: ${map.unmatched}`)
  })
}

async function replaceMap(file: string | undefined, options: WhereOptions, terminal: Terminal): Promise<void> {
  await withSource(options, terminal, async (source) => {
    const files = await read(source)
    if (file === undefined) {
      terminal.out(toPrintableJson(loadRegistry(files).map))
      return
    }
    const map = await readFileOr(file)
    loadRegistry({ ...files, map })
    await source.write({ map })
    if (options.json === true) terminal.out(toPrintableJson({ ok: true, ...parseMap(map) }))
    else terminal.out(`the map is in ${source.name}`)
  })
}

async function withSource(
  options: WhereOptions,
  terminal: Terminal,
  run: (source: SchemaSource) => Promise<void>,
): Promise<void> {
  const source = await openSchemaSource(placeOf(options, terminal), silentLogger)
  try {
    await run(source)
  } finally {
    await source.close()
  }
}

function placeOf({ dir }: WhereOptions, terminal: Terminal): SchemaRegistryConfig {
  if (dir !== undefined) return { kind: 'folder', folder: dir }
  const resolution = resolveKeys(terminal.env)
  const problems = problemsOf(resolution, 'shield')
  if (problems.length > 0) throw new ExitError(exitCodes.config, problems.map(describeProblem).join('\n'))
  const { values, sources } = resolution
  if (values.schemaSource === 'folder' && values.schemaDir !== undefined) {
    return { kind: 'folder', folder: values.schemaDir }
  }
  if (sources.get('natsUrl')?.kind !== 'default') return { kind: 'nats', natsUrl: values.natsUrl }
  throw new ExitError(exitCodes.config, 'no place for schemas is configured', 'Give --dir, or set NATS_URL.')
}

/** What is there; a place where nothing was pushed yet is an empty one. */
async function read(source: SchemaSource): Promise<SchemaFiles> {
  try {
    return await source.read()
  } catch (error) {
    if (isBusError(error) && error.details['reason'] === 'BUCKET_MISSING') return { map: undefined, sets: new Map() }
    if (isBusError(error)) throw error
    throw new ExitError(exitCodes.config, `${source.name} cannot be read`, 'Is it a folder that you may read?')
  }
}

async function readFileOr(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file)
  } catch {
    throw new ExitError(exitCodes.usage, `${file} cannot be read`)
  }
}
