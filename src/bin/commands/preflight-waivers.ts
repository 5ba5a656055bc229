// `arqonbus preflight waivers`: ask for exceptions, approve them with a key, and see which hold (docs/waivers.md).
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { resolveKeys } from '../../config/resolve.ts'
import type { PreflightPolicy } from '../../waivers/preflight-policy.ts'
import { fromDisk } from '../../waivers/read-bytes.ts'
import type { Waiver, WaiverFile } from '../../waivers/waiver.ts'
import { signingKeyOf, textOf } from '../read-key.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'

interface FileOptions {
  readonly waivers?: string
  readonly policy?: string
}
interface DraftOptions extends FileOptions {
  readonly from: string
  readonly id?: string
  readonly owner?: string
  readonly reason?: string
  readonly risk?: string
  readonly ticket?: string
  readonly days?: string
  readonly compensating?: string[]
  readonly write?: boolean
}

export function waiversCommand(terminal: Terminal): Command {
  const command = new Command('waivers').description('Approved exceptions: who asked, who agreed, until when')
  command.addCommand(
    withFiles(
      new Command('lint').description('Tell everything that is wrong with the file; exits with 65 then'),
    ).action((options: FileOptions) => lint(options, terminal)),
  )
  command.addCommand(
    withFiles(new Command('list').description('Show each waiver, whether it holds and for how long'))
      .option('--json', 'print as JSON')
      .action((options: FileOptions & { json?: boolean }) => list(options, terminal)),
  )
  command.addCommand(
    withFiles(new Command('draft').description('Ask for an exception: a waiver bound to the failure of a report'))
      .argument('<check>', 'id of the check that failed')
      .requiredOption('--from <report>', 'file with the output of `preflight run --json`')
      .option('--id <id>', 'default: the next of this year')
      .option('--owner <name>', 'the person who answers for it')
      .option('--reason <text>')
      .option('--risk <text>', 'what may happen meanwhile')
      .option('--ticket <address>')
      .option('--days <days>', 'how long it holds; default: as long as its severity allows')
      .option('--compensating <ids...>', 'checks that have to pass meanwhile')
      .option('--write', 'add it to the file instead of printing it')
      .action((check: string, options: DraftOptions) => draft(check, options, terminal)),
  )
  command.addCommand(
    withFiles(new Command('approve').description('Sign a waiver, in the file'))
      .argument('<id>', 'id of the waiver')
      .requiredOption('--key <file>', 'your private key: Ed25519, PEM (PKCS #8)')
      .requiredOption('--by <name>', 'your name in the policy')
      .action((id: string, options: FileOptions & { key: string; by: string }) => approve(id, options, terminal)),
  )
  command.addCommand(
    withFiles(
      new Command('renew').description('Ask once more for a waiver that ends: adds a new one that needs new approvals'),
    )
      .argument('<id>', 'id of the waiver')
      .requiredOption('--reason <text>', 'why it is still needed; another than before')
      .option('--days <days>', 'how long it holds; default: as long as its severity allows')
      .action((id: string, options: FileOptions & { reason: string; days?: string }) => renew(id, options, terminal)),
  )
  command.addCommand(
    new Command('keygen').description('Show how to make a key for approving').action(() => terminal.out(keyHelp)),
  )
  return command
}

const keyHelp = `An approver makes a key once, and keeps the private half:
  openssl genpkey -algorithm ed25519 -out approver.pem && chmod 600 approver.pem
Its public half goes into the policy, under the approver's name:
  echo "ed25519:$(openssl pkey -in approver.pem -pubout -outform DER | tail -c 32 | base64)"`

const withFiles = (command: Command): Command =>
  command
    .option('--waivers <file>', 'default: ARQONBUS_PREFLIGHT_WAIVERS')
    .option('--policy <file>', 'default: ARQONBUS_PREFLIGHT_POLICY')

interface Files {
  readonly path: string
  readonly file: WaiverFile
  readonly policy: PreflightPolicy
  readonly policyPath: string | undefined
}

async function filesOf(options: FileOptions, terminal: Terminal): Promise<Files> {
  const { readWaivers } = await import('../../waivers/read-files.ts')
  const path = options.waivers ?? resolveKeys(terminal.env).values.preflightWaivers
  if (path === undefined) {
    throw new ExitError(
      exitCodes.usage,
      'which file of waivers?',
      'Name it with --waivers, or set ARQONBUS_PREFLIGHT_WAIVERS.',
    )
  }
  const policyPath = options.policy ?? resolveKeys(terminal.env).values.preflightPolicy
  return { path, file: readWaivers(path, fromDisk), policy: await policyOf(options, terminal), policyPath }
}

async function policyOf({ policy }: FileOptions, { env }: Terminal): Promise<PreflightPolicy> {
  const { readPreflightPolicy } = await import('../../waivers/read-files.ts')
  return readPreflightPolicy(policy ?? resolveKeys(env).values.preflightPolicy, fromDisk)
}

/** A check of a plug-in can be excused like any other. */
async function rowsOf({ file, policy, policyPath }: Files) {
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  const { lintWaivers } = await import('../../preflight/lint-waivers.ts')
  const { loadPlugins } = await import('../../preflight/plugins/load.ts')
  const builtIn = createCatalogue()
  const { checks } = await loadPlugins(policy.plugins ?? [], { policyPath, builtIn })
  return lintWaivers(file, policy, systemClock.now(), [...builtIn, ...checks])
}

async function lint(options: FileOptions, terminal: Terminal): Promise<void> {
  const files = await filesOf(options, terminal)
  const wrong = (await rowsOf(files)).filter(
    ({ refusal, renewedBy }) => refusal !== undefined && renewedBy === undefined,
  )
  for (const { id, refusal } of wrong) terminal.out(`${id} ${refusal!.reason}: ${refusal!.words}`)
  const count = files.file.waivers.length
  terminal.out(
    `${count === 1 ? '1 waiver' : `${count} waivers`}, ${wrong.length === 0 ? 'nothing wrong' : `${wrong.length} that will not hold`}`,
  )
  if (wrong.length > 0) terminal.exitWith(exitCodes.input)
}

async function list(options: FileOptions & { json?: boolean }, terminal: Terminal): Promise<void> {
  const rows = await rowsOf(await filesOf(options, terminal))
  if (options.json === true) {
    terminal.out(toPrintableJson(rows))
    return
  }
  for (const { id, check, severity, days, expires, approvals, needed, refusal, renewedBy } of rows) {
    const left = days < 0 ? 'expired' : days === 1 ? '1 day left' : `${days} days left`
    const state = renewedBy === undefined ? (refusal?.reason ?? 'holds') : `renewed by ${renewedBy}`
    terminal.out(`${id}  ${check}  ${severity}  ${left} (${expires})  ${approvals} of ${needed} approvals  ${state}`)
  }
}

async function draft(check: string, options: DraftOptions, terminal: Terminal): Promise<void> {
  const { failureOf } = await import('../../preflight/draft-subject.ts')
  const { bindOf, lifeOf } = await import('../../waivers/judge-waivers.ts')
  const { addWaiver, draftWaiver, newFile, nextId, replaceFile } = await import('../../waivers/edit-file.ts')
  const { profile, subject } = failureOf(textOf(options.from), check)
  const { severity } = subject
  if (lifeOf(severity) === 0) {
    throw new ExitError(exitCodes.usage, `${check} is ${severity}: there is no exception from it`, 'Mend it instead.')
  }
  const isOpen = [options.owner, options.reason, options.risk, options.ticket].includes(undefined)
  if (options.write === true && isOpen) {
    throw new ExitError(exitCodes.usage, '--write needs --owner, --reason, --risk and --ticket')
  }
  const files = options.write === true ? await filesOf(options, terminal) : undefined
  const { site } = await policyOf(options, terminal)
  const { id, days, compensating = [], owner, reason, risk, ticket } = options
  const now = systemClock.now()
  const waiver = draftWaiver({
    id: id ?? nextId(files?.file.waivers ?? [], now),
    subject,
    scope: { profile, ...(site !== undefined && { site }) },
    bind: bindOf(subject),
    compensating,
    ...(days !== undefined && { days: daysOf(days, severity, lifeOf(severity)) }),
    ...(owner !== undefined && { owner }),
    ...(reason !== undefined && { reason }),
    ...(risk !== undefined && { risk }),
    ...(ticket !== undefined && { ticket }),
    now,
  })
  if (files === undefined) {
    terminal.out(newFile(waiver).trimEnd())
    return
  }
  replaceFile(files.path, addWaiver(textOf(files.path), waiver))
  terminal.out(`${waiver.id} of ${check} is in ${toPrintable(files.path)}, without an approval yet`)
}

async function approve(
  id: string,
  { key: keyFile, by, ...options }: FileOptions & { readonly key: string; readonly by: string },
  terminal: Terminal,
): Promise<void> {
  const { approve: sign, keyTextOf } = await import('../../waivers/sign.ts')
  const { addApproval, replaceFile, secondOf } = await import('../../waivers/edit-file.ts')
  const { isSamePerson } = await import('../../waivers/person.ts')
  const { path, file, policy } = await filesOf(options, terminal)
  const waiver = waiverOf(id, file)
  const key = signingKeyOf(keyFile)
  if (!Object.hasOwn(policy.approvers, by)) throw denied(`the policy knows no approver ${toPrintable(by)}`)
  if (policy.approvers[by] !== keyTextOf(key)) throw denied(`the key of ${by} in the policy is another`)
  if (isSamePerson(by, waiver.owner)) throw denied(`${by} is the owner of ${id}; somebody else has to agree`)
  if (waiver.approvals.some((one) => isSamePerson(one.by, by))) throw denied(`${by} has approved ${id} already`)
  const approval = sign(waiver, by, secondOf(systemClock.now()), key)
  replaceFile(path, addApproval(textOf(path), id, approval))
  terminal.out(`${id} approved by ${by}: ${waiver.check} may fail until ${waiver.expires}`)
}

const denied = (message: string): ExitError => new ExitError(exitCodes.denied, message)

async function renew(
  id: string,
  { reason, days, ...options }: FileOptions & { readonly reason: string; readonly days?: string },
  terminal: Terminal,
): Promise<void> {
  const { addWaiver, nextId, renewWaiver, replaceFile } = await import('../../waivers/edit-file.ts')
  const { lifeOf } = await import('../../waivers/judge-waivers.ts')
  const files = await filesOf(options, terminal)
  const before = waiverOf(id, files.file)
  const row = (await rowsOf(files)).find((one) => one.id === id)!
  if (row.renewedBy !== undefined) throw new ExitError(exitCodes.usage, `${id} is renewed already, by ${row.renewedBy}`)
  if (before.renewal.number > 0) {
    throw new ExitError(
      exitCodes.usage,
      `${id} is a renewal; it can be renewed once only`,
      `Mend ${before.check} instead.`,
    )
  }
  const now = systemClock.now()
  const most = lifeOf(row.severity)
  const waiver = renewWaiver(before, {
    id: nextId(files.file.waivers, now),
    reason,
    days: days === undefined ? most : daysOf(days, row.severity, most),
    now,
  })
  replaceFile(files.path, addWaiver(textOf(files.path), waiver))
  terminal.out(`${waiver.id} renews ${id} until ${waiver.expires}; it needs new approvals`)
}

function waiverOf(id: string, { waivers }: WaiverFile): Waiver {
  const waiver = waivers.find((one) => one.id === id)
  if (waiver !== undefined) return waiver
  throw new ExitError(
    exitCodes.usage,
    `no waiver is called ${toPrintable(id)}`,
    '`preflight waivers list` shows them all.',
  )
}

function daysOf(text: string, severity: string, most: number): number {
  const days = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (days >= 1 && days <= most) return days
  throw new ExitError(exitCodes.usage, `--days has to be from 1 to ${most}, the most for ${severity}`)
}
