// `arqonbus projector backup`, `restore`, `verify` and `drill`: the data-safety playbook as commands.
import { Command } from 'commander'
import { systemClock, toIsoTime } from '../../base/clock.ts'
import { backUp, readManifest } from '../../projector/playbook/backup.ts'
import { restore } from '../../projector/playbook/restore.ts'
import {
  createDatabase,
  drill,
  dropDatabase,
  requireScratchName,
  withDatabase,
} from '../../projector/playbook/scratch.ts'
import { verifyProjection, type Verification } from '../../projector/playbook/verify.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { postgresAddressOf } from '../postgres-address.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface JsonOption {
  readonly json?: boolean
}

const json = ['--json', 'print the result as JSON'] as const

export function playbookCommands(terminal: Terminal): readonly Command[] {
  const backup = new Command('backup')
    .description("Dump the lane's tables with pg_dump, and a manifest with their counts and digests beside it")
    .argument('<file>', 'the dump; it must not be there')
    .option(...json)
    .action((file: string, options: JsonOption) => runBackup(file, options, terminal))
  const restoring = new Command('restore')
    .description('Bring a backup into an empty or scratch database with pg_restore, in one transaction')
    .argument('<file>', 'the dump, with its manifest beside it')
    .option('--database <name>', 'on the configured server; made where it is not there')
    .option('--into-live', 'into the configured database itself, in place of what is there')
    .option('--confirm <host:port/database>', 'with --into-live: the target, typed')
    .action((file: string, options: RestoreOptions) => runRestore(file, options, terminal))
  const verify = new Command('verify')
    .description('Compare the projection with its event log; exits with 1 when something is not right')
    .option('--database <name>', 'another one on the configured server')
    .option('--manifest <file>', 'a backup: its counts and digests too')
    .option(...json)
    .action((options: VerifyOptions) => runVerify(options, terminal))
  const drilling = new Command('drill')
    .description('Back up, restore into a scratch database, verify there, drop it, and report')
    .argument('<file>', 'the dump, which stays')
    .option(...json)
    .action((file: string, options: JsonOption) => runDrill(file, options, terminal))
  return [backup, restoring, verify, drilling]
}

const toolsOf = ({ env, stop }: Terminal) => ({ searchPath: env['PATH'], signal: stop })

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** One line a second at most, and the first of each step. */
function progressOf(terminal: Terminal): (what: string, done: number, of?: number) => void {
  let toldAt = -Infinity
  let told = ''
  return (what, done, of) => {
    const now = systemClock.monotonic()
    if (what === told && now - toldAt < 1_000) return
    toldAt = now
    told = what
    terminal.note(of === undefined ? `${what}: ${megabytes(done)}` : `${what}: ${megabytes(done)} of ${megabytes(of)}`)
  }
}

async function runBackup(file: string, options: JsonOption, terminal: Terminal): Promise<void> {
  const address = postgresAddressOf(terminal)
  const manifest = await backUp({
    address,
    ...toolsOf(terminal),
    clock: systemClock,
    file,
    onProgress: progressOf(terminal),
  })
  if (options.json === true) terminal.out(toPrintableJson(manifest))
  else {
    for (const [table, { rows }] of Object.entries(manifest.tables)) terminal.out(`${table}  ${rows} rows`)
    terminal.out(`${manifest.dump.file}  ${megabytes(manifest.dump.bytes)}  sha256 ${manifest.dump.sha256}`)
  }
}

interface RestoreOptions {
  readonly database?: string
  readonly intoLive?: boolean
  readonly confirm?: string
}

async function runRestore(file: string, options: RestoreOptions, terminal: Terminal): Promise<void> {
  const live = postgresAddressOf(terminal)
  const { database, intoLive = false, confirm } = options
  if ((database === undefined) !== intoLive) {
    throw new ExitError(exitCodes.usage, 'name a scratch database with --database, or --into-live')
  }
  if (intoLive && confirm !== live.shown) {
    const hint = `It replaces what is in ${live.shown}. To do that, add: --confirm ${live.shown}`
    throw new ExitError(exitCodes.usage, 'a restore into the live database has to be confirmed', hint)
  }
  if (database !== undefined && requireScratchName(database) === live.reveal().database) {
    throw new ExitError(exitCodes.usage, `${database} is the live database`, 'See --into-live.')
  }
  const isNew = database !== undefined && (await createDatabase(live, database))
  const address = database === undefined ? live : withDatabase(live, database)
  try {
    const begun = systemClock.monotonic()
    const { tables } = await restore({
      address,
      ...toolsOf(terminal),
      file,
      replaces: intoLive,
      onProgress: progressOf(terminal),
    })
    const seconds = ((systemClock.monotonic() - begun) / 1_000).toFixed(1)
    for (const [table, { rows }] of Object.entries(tables)) terminal.out(`${table}  ${rows} rows`)
    terminal.out(`restored into ${address.shown} in ${seconds} s; counts and digests are those of the manifest`)
  } catch (error) {
    // As it was: not there.
    if (isNew) await dropDatabase(live, database).catch(() => terminal.note(`${database} could not be dropped`))
    throw error
  }
}

interface VerifyOptions extends JsonOption {
  readonly database?: string
  readonly manifest?: string
}

async function runVerify(options: VerifyOptions, terminal: Terminal): Promise<void> {
  const live = postgresAddressOf(terminal)
  const address = options.database === undefined ? live : withDatabase(live, requireScratchName(options.database))
  const expected = options.manifest === undefined ? undefined : (await readManifest(options.manifest)).tables
  const found = await verifyProjection(address, { clock: systemClock, expected, signal: terminal.stop })
  if (options.json === true) terminal.out(toPrintableJson(found))
  else for (const line of linesOf(found)) terminal.out(line)
  if (!found.ok) throw new ExitError(exitCodes.failure, `${address.shown}: not all is right`)
}

function linesOf(found: Verification): string[] {
  const { tables, orphanEpisodes, staleRows, rowsWithoutEvents, frozenRows } = found
  return [
    ...Object.entries(tables).map(([table, { rows, digest }]) => `${table}  ${rows} rows  ${digest}`),
    ...(found.differing ?? []).map((table) => `${table} differs from the manifest`),
    `episodes without a row: ${orphanEpisodes}`,
    `rows that are not their newest event: ${staleRows}`,
    `rows without an event: ${rowsWithoutEvents}`,
    `rows ahead of the clock: ${frozenRows}`,
  ]
}

async function runDrill(file: string, options: JsonOption, terminal: Terminal): Promise<void> {
  const address = postgresAddressOf(terminal)
  const result = await drill({
    address,
    ...toolsOf(terminal),
    clock: systemClock,
    file,
    onStep: (step) => terminal.note(step),
  })
  if (options.json === true) terminal.out(toPrintableJson({ ...result, at: toIsoTime(systemClock.now()) }))
  else {
    const { backup, restore: restored, verify } = result.seconds
    for (const line of linesOf(result.verification)) terminal.out(line)
    terminal.out(`backup ${backup} s, restore ${restored} s, verify ${verify} s`)
    if (result.ok) terminal.out('the drill passed')
  }
  if (!result.ok) throw new ExitError(exitCodes.failure, 'the drill failed')
}
