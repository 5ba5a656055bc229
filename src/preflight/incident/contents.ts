// The files of a bundle that come from the run itself: report, plan, probes, commands, replay, summary. Not yet redacted.
import { canonicalJson } from '../../base/canonical-json.ts'
import { formatJson } from '../format-json.ts'
import type { RunRecord } from '../replay/record.ts'
import type { Report } from '../report.ts'
import type { Collection } from './collection.ts'
import type { CommandSpool } from './commands.ts'
import { type Comparison, comparisonLines } from './compare.ts'
import type { Route } from './route.ts'

export function collectReport(into: Collection, report: Report, text: string, plan: object | undefined): void {
  into.text('report/report.json', formatJson(report))
  into.text('report/canonical.json', canonicalJson(report.canonical))
  into.text('report/report.txt', text)
  if (plan === undefined) into.lacks('report/plan.json', 'the run came to no plan')
  else into.json('report/plan.json', plan)
  for (const [id, seen] of Object.entries(report.observations.results)) {
    if (seen.answer !== undefined) into.json(`probes/${id}.json`, { id, ...seen })
  }
}

/** More of one stream is not kept; where that cuts something off, it says so at its end and in INCOMPLETE.json. */
export const maxStreamBytes = 64 * 1024 * 1024

export function collectCommands(into: Collection, spool: CommandSpool, maxBytes: number = maxStreamBytes): void {
  for (const command of spool.commands()) {
    const { folder, argv, cwd, streams, exit = null, signal = null, ms, failure, isLate } = command
    const place = `commands/${folder}`
    into.json(`${place}/argv.json`, argv)
    into.text(`${place}/cwd`, `${cwd}\n`)
    const sizes: Record<string, number> = {}
    for (const stream of ['stdout', 'stderr'] as const) {
      const { bytes, size } = spool.read(command, stream, maxBytes)
      sizes[`${stream}Bytes`] = size
      // Nothing written is a fact of exit.json, not an empty file.
      if (size === 0) continue
      const note = size > bytes.length ? `\n[cut after ${bytes.length} of ${size} bytes]\n` : ''
      into.bytes(`${place}/${stream}.txt`, Buffer.concat([bytes, Buffer.from(note, 'utf8')]))
      if (note !== '') into.lacks(`${place}/${stream}.txt`, `cut after ${bytes.length} of ${size} bytes`)
    }
    into.json(`${place}/exit.json`, {
      exit,
      signal,
      ...(ms === undefined ? { state: 'still running' } : { ms }),
      ...(failure !== undefined && { failure }),
      ...(isLate === true && { endedAtDeadline: true }),
      ...(streams !== undefined && { streams }),
      ...sizes,
    })
  }
}

/** What the run was judged from (replay/record.ts). */
export function collectReplay(into: Collection, report: Report, record: RunRecord | undefined): void {
  if (record === undefined) into.lacks('replay/inputs.json', 'the run came to no plan')
  else into.json('replay/inputs.json', record)
  into.text('replay/expected-digest', `${report.digest}\n`)
}

export interface SummaryParts {
  readonly route: Route | undefined
  readonly comparison: Comparison | undefined
  /** The public key that signs the bundle. */
  readonly signer: string | undefined
}

export function collectSummary(into: Collection, report: Report, { route, comparison, signer }: SummaryParts): void {
  const { canonical, digest, observations } = report
  const { verdict, profile, version, unproven, counts, fault } = canonical
  const lines = [
    `# Preflight ${verdict}`,
    '',
    `Profile ${profile}, arqonbus ${version}, started ${observations.startedAt}.`,
    `Digest ${digest}.`,
    `${counts.pass} pass, ${counts.fail} fail, ${counts.error} error, ${counts.blocked} blocked, ${counts.notRun} not run.`,
    ...(fault === undefined ? [] : ['', `Fault: ${fault.kind} ${fault.code}: ${observations.fault ?? ''}`]),
    ...(unproven.length === 0 ? [] : ['', '## Not proved', '', ...unproven.map((reason) => `- ${reason}`)]),
    ...(route === undefined ? [] : ['', `Route: ${route.label}, to ${route.owner}.`, '', '## Root causes']),
    ...(route?.tickets ?? []).flatMap(({ title, owner, dedupe, text }) => [
      '',
      `### ${title}`,
      '',
      `Owner ${owner}, dedupe ${dedupe}.`,
      '',
      ...text
        .trimEnd()
        .split('\n')
        .map((line) => (line === '' ? '' : `    ${line}`)),
    ]),
    ...(comparison === undefined ? [] : ['', '## Since it was green', '', ...comparisonLines(comparison)]),
    '',
    signer === undefined ? 'This bundle is not signed.' : `This bundle is signed with ${signer}.`,
    'What could not be captured stands in INCOMPLETE.json, what was taken out in redaction/report.json.',
  ]
  into.text('SUMMARY.md', `${lines.join('\n')}\n`)
  if (route === undefined) into.json('ROUTE.json', { label: null, why: `${verdict}: no root cause to route` })
  else into.json('ROUTE.json', route)
}
