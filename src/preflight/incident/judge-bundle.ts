// Capture is itself judged (preflight 2.8): what a bundle lacks is said beside the verdict, which it never softens.
import type { DigestSignature } from '../replay/signature.ts'
import type { BundleFinding } from '../report.ts'
import type { Missing } from './collection.ts'

/** What a bundle says of itself: MANIFEST.json. */
export interface Manifest {
  readonly schema: 'arqonbus/preflight-incident/1.0'
  readonly runId: string
  readonly verdict: string
  readonly digest: string
  /** 40 hex; absent where it could not be had. */
  readonly commit?: string
  /** Label of the route; absent where nothing was routed. */
  readonly label?: string
  /** Class of each root cause, in the order of the report. */
  readonly classes: readonly string[]
  /** Everything but MANIFEST.json itself, by path in code-unit order. */
  readonly files: readonly ManifestFile[]
  /** Over all the rest, and so over every file. Absent: nobody signed it. */
  readonly signature?: DigestSignature
}

export interface ManifestFile {
  readonly path: string
  readonly size: number
  readonly sha256: string
  /** By redactor: how often it found something. */
  readonly redacted: Readonly<Record<string, number>>
}

/** `missing`: what INCOMPLETE.json says. Pure. */
export function judgeBundle(manifest: Manifest, missing: readonly Missing[]): readonly BundleFinding[] {
  const paths = new Set(manifest.files.map(({ path }) => path))
  const lacks = (start: string): readonly Missing[] => missing.filter(({ path }) => path.startsWith(start))
  const findings: BundleFinding[] = []
  const add = (id: BundleFinding['id'], code: string, found: string): void => {
    findings.push({ id, severity: 'high', code, found })
  }
  if (manifest.commit === undefined) add('incident.commit', 'NO_COMMIT', lacks('git/')[0]?.why ?? 'no commit was found')
  if (!paths.has('commands/000-preflight/argv.json'))
    add('incident.command', 'NO_COMMAND', 'the command line of the run is missing')
  for (const { path, why } of [...lacks('commands/'), ...lacks('probes/')])
    add('incident.command', 'NOT_COMPLETE', `${path}: ${why}`)
  for (const path of ['env/snapshot.json', 'env/provenance.json']) {
    if (!paths.has(path)) add('incident.env', 'NO_SNAPSHOT', `${path}: ${lacks(path)[0]?.why ?? 'it is missing'}`)
  }
  // Nobody knows whose fault it is: allowed, and counted (preflight 2.8).
  const unknown = manifest.classes.filter((name) => name === 'unknown').length
  if (unknown > 0)
    add('incident.class', 'UNKNOWN_CLASS', `${unknown} of ${manifest.classes.length} root causes without a class`)
  if (manifest.verdict === 'NO-GO' && (manifest.label === undefined || !paths.has('ROUTE.json'))) {
    add('incident.route', 'NO_LABEL', 'a NO-GO without a label to route it by')
  }
  return findings
}
