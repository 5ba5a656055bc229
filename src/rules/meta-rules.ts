// The rules about the configuration as a whole.
import { type KeyName, type KeySpec, keys, limitKeys, type Program } from '../config/keys.ts'
import { type Problem, showFound } from '../config/resolution.ts'
import { explicitFault, variableOf } from './explicit.ts'
import { always, isProduction, production, profileAsked, secretInUseInProduction } from './predicates.ts'
import { fail, failIfAny, type Finding, type Judgement, pass, type Rule, type RuleContext } from './rule.ts'
import { tokenSecrets } from './token-secrets.ts'

export const metaRules: readonly Rule[] = [
  {
    id: 'meta.profile-production',
    title: 'The environment is the one that was asked for',
    proves: 'ARQONBUS_ENVIRONMENT says itself what --profile asks for.',
    runbook: ['L7'],
    severity: 'blocker',
    class: 'config',
    programs: ['bus', 'shield'],
    appliesWhen: profileAsked,
    judge: judgeProfile,
  },
  {
    id: 'meta.config-valid',
    title: 'Every variable is understood',
    proves:
      'Each variable has a value of its type, no name is misspelt, and no two contradict each other. White space around a token secret is said by shield.jwt-secret-hygiene, where that applies.',
    runbook: [],
    severity: 'high',
    class: 'config',
    programs: ['bus', 'shield'],
    appliesWhen: always,
    judge: (ctx) =>
      failIfAny(
        ctx.resolution.problems
          .filter((problem) => concerns(problem.programs, ctx.programs) && !isSaidByHygiene(problem, ctx))
          .map(({ code, variable, found, fix }) => ({ code, variable, found, fix })),
        'no problem',
      ),
  },
  {
    id: 'meta.files-readable',
    title: 'The files that are named can be read',
    proves: 'Every key, certificate, schema and policy file that the configuration names exists and is readable.',
    runbook: [],
    severity: 'high',
    class: 'config',
    programs: ['bus', 'shield'],
    appliesWhen: always,
    judge: judgeFiles,
  },
  endpointRule('bus', 'bus.no-defaults'),
  endpointRule('shield', 'shield.no-defaults'),
  capRule('bus', 'bus.limits-within-caps'),
  capRule('shield', 'shield.limits-within-caps'),
]

/** One fault is one finding, of the rule that knows more of it. */
function isSaidByHygiene({ code, variable }: Problem, ctx: RuleContext): boolean {
  if (code !== 'SURROUNDING_SPACE' && code !== 'TRAILING_NEWLINE') return false
  const isJudged = secretInUseInProduction.test(ctx).holds
  return isJudged && tokenSecrets(ctx, isProduction(ctx)).some((secret) => secret.variable === variable)
}

const concerns = (theirs: readonly Program[], judged: readonly Program[]): boolean =>
  theirs.some((program) => judged.includes(program))

function judgeProfile(ctx: RuleContext): Judgement {
  const { profile: asked, resolution } = ctx
  const fix = `set ARQONBUS_ENVIRONMENT=${asked === 'prod' ? 'production' : asked} where the service starts`
  // Development is what an environment means that says nothing; anything else has to be said.
  const fault = asked === 'dev' ? undefined : explicitFault(ctx, 'environment', fix)
  if (fault !== undefined) return { status: 'fail', findings: [fault] }
  const found = `ARQONBUS_ENVIRONMENT means ${resolution.profile}`
  return resolution.profile === asked
    ? pass(found)
    : fail('OTHER_PROFILE', 'ARQONBUS_ENVIRONMENT', `${found}, asked for ${asked}`, fix)
}

const fileKeys: readonly KeyName[] = [
  'jwtKeyFile',
  'shieldTlsCertFile',
  'shieldTlsKeyFile',
  'shieldSchemaFile',
  'policyWasmPath',
]

function judgeFiles(ctx: RuleContext): Judgement {
  const findings = fileKeys.flatMap((name): Finding[] => {
    if (!concerns(keys[name].programs, ctx.programs)) return []
    return pathsIn(ctx.resolution.values[name])
      .filter((path) => !ctx.files.isReadable(path))
      .map((path) => {
        const variable = variableOf(ctx, name)
        const found = `${showFound(path, undefined)} cannot be read`
        return { code: 'FILE_UNREADABLE', variable, found, fix: `set ${variable} to a file that the process may read` }
      })
  })
  return failIfAny(findings, 'all that are named')
}

/** A key names one file or several. */
function pathsIn(value: unknown): string[] {
  return [value].flat().filter((path) => typeof path === 'string')
}

/** Endpoints that a runbook line names have a rule each; this one is for the rest. */
function endpointRule(program: Program, id: string): Rule {
  const names = (Object.keys(keys) as KeyName[]).filter((name) => {
    const spec: KeySpec<unknown> = keys[name]
    return spec.endpoint === true && spec.programs.includes(program)
  })
  return {
    id,
    title: 'No listener stands where a default put it',
    proves: `Set explicitly: ${names.map((name) => keys[name].names[0]).join(', ')}.`,
    runbook: ['L20'],
    severity: 'critical',
    class: 'config',
    programs: [program],
    appliesWhen: production,
    judge: (ctx) =>
      failIfAny(
        names.flatMap((name) => explicitFault(ctx, name, `set ${keys[name].names[0]}`) ?? []),
        `${names.length} set`,
      ),
  }
}

function capRule(program: Program, id: string): Rule {
  const capped = limitKeys.flatMap(({ programs, cap, field, names: [variable] }) =>
    programs.includes(program) && cap !== undefined ? [{ cap, field, variable }] : [],
  )
  return {
    id,
    title: 'Limits protect the process',
    proves: 'No limit is set above the largest value that was tested to be safe.',
    runbook: [],
    severity: 'high',
    class: 'config',
    programs: [program],
    appliesWhen: production,
    judge: ({ resolution }) =>
      failIfAny(
        capped.flatMap(({ field, cap, variable }): Finding[] => {
          const value = resolution.limits[program][field]!
          if (value <= cap) return []
          return [
            {
              code: 'ABOVE_CAP',
              variable,
              found: `${value}, at most ${cap} in production`,
              fix: `set ${variable} to ${cap} or less`,
            },
          ]
        }),
        `${capped.length} within their caps`,
      ),
  }
}
