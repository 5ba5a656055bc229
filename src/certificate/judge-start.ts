// May this program start under this certificate? Pure: the same facts give the same mismatches, at a start, while it
// runs and in `preflight verify`. All of them at once, each with its code; no value of a variable in any.
import type { Profile } from '../config/shapes.ts'
import type { Build } from './build.ts'
import { type Certificate, isSignedBy, isWholeFingerprint, type ParsedCertificate } from './certificate.ts'
import { differences, type Fingerprinted } from './environment.ts'

export type MismatchCode =
  | 'NO_PUBLIC_KEY'
  | 'CERTIFICATE_MISSING'
  | 'CERTIFICATE_UNREADABLE'
  | 'CERTIFICATE_MALFORMED'
  | 'OTHER_KEY'
  | 'BAD_SIGNATURE'
  | 'NOT_GO'
  | 'OTHER_PROFILE'
  | 'OTHER_BUILD'
  | 'OTHER_LOCK'
  | 'OTHER_NODE'
  | 'OTHER_CATALOGUE'
  | 'OTHER_RUNBOOK'
  | 'NO_FINGERPRINT'
  | 'OTHER_INSTALLATION'
  | 'OTHER_ENVIRONMENT'
  | 'OTHER_POLICY'
  | 'NOT_YET'
  | 'EXPIRED'
  | 'WAIVER_CHANGED'
  | 'WAIVER_EXPIRED'

export interface Mismatch {
  readonly code: MismatchCode
  readonly found: string
  readonly fix: string
}

/** A certificate as it was found; `missing`: no file is named, `unreadable`: why not. */
export type FoundCertificate = ParsedCertificate | { readonly missing: true } | { readonly unreadable: string }

export interface StartFacts {
  readonly found: FoundCertificate
  /** The pinned one. */
  readonly publicKey: string | undefined
  readonly profile: Profile
  readonly build: Build
  readonly environment: Fingerprinted
  /** Digest of the policy in force. */
  readonly policy: string
  /** Digests of the waivers in force, by id. */
  readonly waivers: ReadonlyMap<string, string>
  /** Was this build activated in this environment before? */
  readonly isActivated: boolean
  /** ms since the Unix epoch. */
  readonly now: number
}

const again = 'run the preflight for this build and environment, and certify its report'
const mismatch = (code: MismatchCode, found: string, fix = again): Mismatch => ({ code, found, fix })

/** Clocks of two machines may differ by so much, ms. */
const skewMs = 60_000

export function judgeStart(facts: StartFacts): Mismatch[] {
  const { found, publicKey } = facts
  if (publicKey === undefined) {
    return [
      mismatch('NO_PUBLIC_KEY', 'no key is pinned', 'set ARQONBUS_PREFLIGHT_PUBLIC_KEY to the key that certifies'),
    ]
  }
  if ('missing' in found) {
    const fix = `set ARQONBUS_PREFLIGHT_CERTIFICATE to the file; ${again}`
    return [mismatch('CERTIFICATE_MISSING', 'no certificate is named', fix)]
  }
  if ('unreadable' in found) return [mismatch('CERTIFICATE_UNREADABLE', found.unreadable)]
  if ('problem' in found) return [mismatch('CERTIFICATE_MALFORMED', found.problem)]
  const { certificate } = found
  // What nobody vouches for says nothing: the rest of it is not looked at.
  const unsigned = signatureMismatch(certificate, publicKey)
  if (unsigned !== undefined) return [unsigned]
  return [
    ...verdictMismatches(certificate, facts),
    ...buildMismatches(certificate, facts.build),
    ...environmentMismatches(certificate, facts.environment),
    ...firstStartMismatches(certificate, facts),
    ...waiverMismatches(certificate, facts),
  ]
}

function signatureMismatch(certificate: Certificate, publicKey: string): Mismatch | undefined {
  if (isSignedBy(certificate, publicKey)) return undefined
  return certificate.key === publicKey
    ? mismatch('BAD_SIGNATURE', 'something was changed after it was signed')
    : mismatch('OTHER_KEY', 'signed with another key than the one that is pinned')
}

function verdictMismatches({ verdict, profile }: Certificate, facts: StartFacts): Mismatch[] {
  return [
    ...((verdict as string) === 'GO' ? [] : [mismatch('NOT_GO', 'its verdict is not GO')]),
    ...(profile === facts.profile ? [] : [mismatch('OTHER_PROFILE', `for ${profile}, this is ${facts.profile}`)]),
  ]
}

function buildMismatches(certificate: Certificate, build: Build): Mismatch[] {
  const { build: certified, commit } = certificate
  const short = (digest: string): string => digest.slice(0, 'sha256:'.length + 12)
  const others: Mismatch[] = []
  const compare = (code: MismatchCode, name: keyof Build, what: string): void => {
    if (certified[name] === build[name]) return
    const shown = name === 'node' ? certified.node : `${short(certified[name])}…`
    others.push(
      mismatch(code, `${what}: certified ${shown}, this is ${name === 'node' ? build.node : `${short(build[name])}…`}`),
    )
  }
  compare('OTHER_BUILD', 'artefact', `files of the program (commit ${commit.slice(0, 12)})`)
  compare('OTHER_LOCK', 'lock', 'package-lock.json')
  compare('OTHER_NODE', 'node', 'Node')
  compare('OTHER_CATALOGUE', 'catalogue', 'catalogue of checks')
  compare('OTHER_RUNBOOK', 'runbook', 'runbook')
  return others
}

function environmentMismatches({ environment: certified }: Certificate, environment: Fingerprinted): Mismatch[] {
  if ('because' in environment) {
    const fix = 'set ARQONBUS_DATA_DIR to the folder with the preflight.key of the preflight that was run'
    return [mismatch('NO_FINGERPRINT', environment.because, fix)]
  }
  if (!isWholeFingerprint(certified))
    return [mismatch('CERTIFICATE_MALFORMED', 'its fingerprint is not of its variables')]
  if (certified.key !== environment.key) {
    const fix = 'run the preflight on this installation, or give its servers the same preflight.key'
    return [mismatch('OTHER_INSTALLATION', 'fingerprints were made with the key of another data folder', fix)]
  }
  const names = differences(certified.variables, environment.variables)
  if (names.length === 0) return []
  const fix = `give the variables their certified values, or ${again}`
  return [mismatch('OTHER_ENVIRONMENT', names.join(', '), fix)]
}

const firstStartCodes: ReadonlySet<MismatchCode> = new Set(['OTHER_POLICY', 'NOT_YET', 'EXPIRED'])

/** Does it stand against a first start alone? */
export const isOfFirstStart = ({ code }: Mismatch): boolean => firstStartCodes.has(code)

/** Bounds the first start alone: a restart at night must not depend on a paper of last month. */
function firstStartMismatches({ issued, activateBy, policy }: Certificate, facts: StartFacts): Mismatch[] {
  if (facts.isActivated) return []
  return [
    ...(policy === facts.policy ? [] : [mismatch('OTHER_POLICY', 'judged by another policy than the one in force')]),
    ...(Date.parse(issued) <= facts.now + skewMs
      ? []
      : [mismatch('NOT_YET', `issued at ${issued}, which is still to come`)]),
    ...(facts.now <= Date.parse(activateBy)
      ? []
      : [mismatch('EXPIRED', `had to be activated by ${activateBy}, and was not`)]),
  ]
}

function waiverMismatches({ waivers }: Certificate, facts: StartFacts): Mismatch[] {
  return waivers.flatMap(({ id, check, expires, digest }): Mismatch[] => {
    if (Date.parse(expires) <= facts.now) {
      return [
        mismatch('WAIVER_EXPIRED', `${id}, which excuses ${check}, expired at ${expires}`, `mend ${check}; ${again}`),
      ]
    }
    if (facts.waivers.get(id) === digest) return []
    return [
      mismatch(
        'WAIVER_CHANGED',
        `${id}, which excuses ${check}, is not in the file as it was`,
        `put it back, or ${again}`,
      ),
    ]
  })
}

/** One block for standard error, in the form of the start-up rules'. */
export function formatMismatches(program: string, mismatches: readonly Mismatch[]): string {
  const count = mismatches.length === 1 ? '1 mismatch' : `${mismatches.length} mismatches`
  const blocks = mismatches.map(({ code, found, fix }) => `  ${code}: ${found}\n    fix   ${fix}`)
  return `${program}: start refused, no GO certificate for it, ${count}\n\n${blocks.join('\n')}`
}
