// The rules about the token secrets (runbook L31, L61). They hold for JWT_SECRET and, where it exists, for the bus's
// own secret: whichever of them a judged program verifies tokens with.
import { minSecretBytes } from '../auth/verification-key.ts'
import { showName } from '../config/resolution.ts'
import { isProduction, secretInUse, secretInUseInProduction, sharedSecret } from './predicates.ts'
import { publishedEntry } from './published-secrets.ts'
import { fail, failIfAny, type Finding, type Judgement, pass, type Rule, type RuleContext } from './rule.ts'
import { estimateBits, minSecretBits } from './secret-strength.ts'
import { type TokenSecret, tokenSecrets } from './token-secrets.ts'

const newSecret = 'set a random secret (openssl rand -base64 48)'

type SecretRule = Pick<Rule, 'id' | 'title' | 'proves' | 'runbook' | 'severity' | 'judge'> & Partial<Rule>

const rule = (spec: SecretRule): Rule => ({
  class: 'config',
  programs: ['bus', 'shield'],
  appliesWhen: secretInUse,
  ...spec,
})

export const secretRules: readonly Rule[] = [
  rule({
    id: 'shield.jwt-secret-present',
    title: 'Shield can verify tokens',
    proves: 'JWT_SECRET is set and not blank.',
    runbook: ['L31', 'L61'],
    severity: 'blocker',
    programs: ['shield'],
    appliesWhen: sharedSecret,
    judge({ resolution: { given } }) {
      const text = given.get('JWT_SECRET')?.text
      if (text === undefined) return fail('NOT_SET', 'JWT_SECRET', 'not set', newSecret)
      if (text.trim() === '') return fail('BLANK', 'JWT_SECRET', 'set but empty', newSecret)
      return pass('set')
    },
  }),
  rule({
    id: 'shield.jwt-secret-not-default',
    title: 'The token secrets are not published ones',
    proves: 'No token secret is, in any usual spelling or encoding, on the shipped list of published secrets.',
    runbook: ['L31', 'L61'],
    severity: 'blocker',
    judge: (ctx) =>
      each(ctx, ({ variable, text }) => {
        const entry = publishedEntry(text)
        return entry === undefined
          ? []
          : [{ code: 'PUBLISHED', variable, found: `a published default (list entry ${entry})`, fix: newSecret }]
      }),
  }),
  rule({
    id: 'shield.jwt-secret-strong',
    title: 'The token secrets cannot be guessed',
    proves: `Every token secret has at least ${minSecretBytes} bytes and, by a lower bound, ${minSecretBits} bits.`,
    runbook: ['L31'],
    severity: 'critical',
    requires: ['shield.jwt-secret-not-default'], // a published secret is not weak besides
    judge: (ctx) => each(ctx, weakness),
  }),
  rule({
    id: 'shield.jwt-secret-hygiene',
    title: 'The token secrets are nowhere else',
    proves: 'No token secret has white space at an end, stands in another variable, or lies in a file others may read.',
    runbook: ['L31'],
    severity: 'high',
    appliesWhen: secretInUseInProduction,
    judge: (ctx) => each(ctx, (secret) => uncleanliness(ctx, secret), keyFileOpenness(ctx)),
  }),
]

function each(
  ctx: RuleContext,
  judge: (secret: TokenSecret) => readonly Finding[],
  more: readonly Finding[] = [],
): Judgement {
  const secrets = tokenSecrets(ctx, isProduction(ctx))
  return failIfAny([...secrets.flatMap(judge), ...more], secrets.map(({ variable }) => variable).join(','))
}

function weakness({ variable, text }: TokenSecret): Finding[] {
  const bytes = Buffer.byteLength(text)
  if (bytes < minSecretBytes) {
    return [{ code: 'TOO_SHORT', variable, found: `${bytes} bytes, need at least ${minSecretBytes}`, fix: newSecret }]
  }
  return estimateBits(text) < minSecretBits
    ? [
        {
          code: 'TOO_PREDICTABLE',
          variable,
          found: `repeats, runs or sequences leave less than ${minSecretBits} bits`,
          fix: newSecret,
        },
      ]
    : []
}

function uncleanliness({ resolution: { given }, files }: RuleContext, { variable, text }: TokenSecret): Finding[] {
  const findings: Finding[] = []
  if (text !== text.trim()) {
    findings.push({
      code: 'SURROUNDING_SPACE',
      variable,
      found: 'white space at an end',
      fix: 'set it without (printf instead of echo)',
    })
  }
  const others = [...given].filter(([name, other]) => !tokenVariables.has(name) && other.text.includes(text.trim()))
  for (const name of others.map(([other]) => showName(other)).sort()) {
    findings.push({
      code: 'ELSEWHERE_TOO',
      variable,
      found: `${name} holds it too`,
      fix: `set another value in ${name}`,
    })
  }
  const path = given.get(variable)?.source.kind === 'file' ? given.get('ARQONBUS_CONFIG_FILE')?.text : undefined
  const found = openness(files, path)
  if (found !== undefined) {
    findings.push({
      code: 'FILE_OPEN_TO_OTHERS',
      variable,
      found,
      fix: 'chmod 600 the file ARQONBUS_CONFIG_FILE names',
    })
  }
  return findings
}

/** With HS256 the key file holds secrets too. */
function keyFileOpenness({ resolution, files }: RuleContext): Finding[] {
  const found = openness(files, resolution.values.jwtKeyFile)
  const variable = 'ARQONBUS_AUTH_JWT_KEY_FILE'
  return found === undefined
    ? []
    : [{ code: 'FILE_OPEN_TO_OTHERS', variable, found, fix: `chmod 600 the file ${variable} names` }]
}

function openness(files: RuleContext['files'], path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  const mode = files.mode(path)
  if (mode === undefined || (mode & 0o077) === 0) return undefined
  return `in a file with mode ${(mode & 0o777).toString(8).padStart(4, '0')}`
}

/** These two may be equal: then one token serves both programs. */
const tokenVariables: ReadonlySet<string> = new Set(['JWT_SECRET', 'ARQONBUS_AUTH_JWT_SECRET'])
