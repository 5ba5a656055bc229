// `arqonbus migrate`: brings the configured Postgres to the schema of this version, and says how far it is.
import { Command } from 'commander'
import { findDrift } from '../../postgres/catalogue.ts'
import { migrateUp, type MigrationStatus, migrationStatus, requireKnown } from '../../postgres/migrations.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { postgresAddressOf } from '../postgres-address.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly json?: boolean
}

export function migrateCommand(terminal: Terminal): Command {
  const command = new Command('migrate')
    .description('Bring the configured Postgres to the schema of this version, or see how far it is')
    .addHelpText(
      'after',
      `
The database is that of ARQONBUS_POSTGRES_URL, or of ARQONBUS_POSTGRES_HOST and its companions.
The files can be applied with psql -f as well; they may run twice.

Examples:
  arqonbus migrate up
  arqonbus migrate status --json
  arqonbus migrate verify    before a start, in a pipeline`,
    )
  const json = ['--json', 'print as JSON'] as const
  const actions = {
    up: ['Apply what is pending; any number may run at the same time', up],
    status: ['Print each migration and whether it is applied', status],
    verify: ['Exit with 78 when something is pending, edited, or differs from the schema of this version', verify],
  } as const
  for (const [name, [description, run]] of Object.entries(actions)) {
    command.addCommand(
      new Command(name)
        .description(description)
        .option(...json)
        .action((options: Options) => run(options, terminal)),
    )
  }
  return command
}

async function up({ json }: Options, terminal: Terminal): Promise<void> {
  const applied = await migrateUp({ address: postgresAddressOf(terminal) })
  if (json === true) terminal.out(toPrintableJson({ applied }))
  else if (applied.length === 0) terminal.out('nothing to apply: the database is up to date')
  else for (const name of applied) terminal.out(`applied ${name}`)
}

function line({ name, state, appliedAt }: MigrationStatus): string {
  return `${state.padEnd(8)}  ${name}${appliedAt === undefined ? '' : `  ${appliedAt}`}`
}

async function status({ json }: Options, terminal: Terminal): Promise<void> {
  const migrations = await migrationStatus({ address: postgresAddressOf(terminal) })
  if (json === true) terminal.out(toPrintableJson({ migrations }))
  else for (const migration of migrations) terminal.out(line(migration))
}

async function verify({ json }: Options, terminal: Terminal): Promise<void> {
  const address = postgresAddressOf(terminal)
  const migrations = await migrationStatus({ address })
  const pending = migrations.filter(({ state }) => state === 'pending')
  const drift = await findDrift(address)
  const isGood = drift.missing.length + drift.extra.length === 0 && migrations.every(({ state }) => state === 'applied')
  if (json === true) terminal.out(toPrintableJson({ ok: isGood, migrations, drift }))
  requireKnown(migrations)
  if (pending.length > 0) {
    const names = pending.map(({ name }) => name).join(', ')
    throw new ExitError(exitCodes.config, `pending: ${names}`, 'Run `arqonbus migrate up`.')
  }
  if (!isGood) {
    if (json !== true) {
      for (const missing of drift.missing) terminal.out(`missing  ${missing}`)
      for (const extra of drift.extra) terminal.out(`extra    ${extra}`)
    }
    const message = 'the schema of the database differs from that of this version'
    throw new ExitError(exitCodes.config, message, 'Put back what was changed by hand, or add a migration for it.')
  }
  if (json !== true) terminal.out(`${migrations.length} applied; the schema is that of this version`)
}
