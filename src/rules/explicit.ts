// The commonest judgement: a key that production has to set itself, with one of the values it accepts.
import { type KeyName, type KeySpec, keys } from '../config/keys.ts'
import { Secret } from '../config/secret.ts'
import { redactUrl } from '../config/urls.ts'
import { describeSource, type Problem } from '../config/resolution.ts'
import { fail, type Finding, type Judgement, pass, type RuleContext } from './rule.ts'

/** The problem the parser has with a key, other than two aliases that differ. */
export function problemOf({ resolution }: RuleContext, name: KeyName): Problem | undefined {
  const names: readonly string[] = keys[name].names
  return resolution.problems.find(({ variable, code }) => names.includes(variable) && code !== 'AMBIGUOUS')
}

/** Set in the environment or file; an overlay's default and the table's are not. */
export function isExplicit({ resolution }: RuleContext, name: KeyName): boolean {
  const kind = resolution.sources.get(name)?.kind
  return kind === 'env' || kind === 'file'
}

/** The variable as it was written, or the key's first name. */
export function variableOf({ resolution }: RuleContext, name: KeyName): string {
  const source = resolution.sources.get(name)
  return source === undefined || source.kind === 'default' ? keys[name].names[0] : source.name
}

/** What makes an explicit key fail before its value is looked at: not set, or not understood. */
export function explicitFault(ctx: RuleContext, name: KeyName, fix: string): Finding | undefined {
  const variable = variableOf(ctx, name)
  if (!isExplicit(ctx, name)) {
    const words = ctx.resolution.values[name] === undefined ? '' : `; ${shown(ctx, name)} would come from the defaults`
    const found = `not set${words}`
    return { code: 'NOT_SET', variable, found, fix }
  }
  const problem = problemOf(ctx, name)
  return problem === undefined ? undefined : { code: problem.code, variable, found: problem.found, fix }
}

/** Explicit, understood, and accepted by `accept`, which gives a finding's code and words, and better advice, when not. */
export function judgeExplicit(
  ctx: RuleContext,
  name: KeyName,
  fix: string,
  accept: () => { readonly code: string; readonly found: string; readonly fix?: string } | undefined = () => undefined,
): Judgement {
  const fault = explicitFault(ctx, name, fix)
  if (fault !== undefined) return { status: 'fail', findings: [fault] }
  const refused = accept()
  const variable = variableOf(ctx, name)
  if (refused !== undefined) return fail(refused.code, variable, refused.found, refused.fix ?? fix)
  return pass(describeValue(ctx, name))
}

/** The value and where it came from; a secret shows no value, an address neither user nor path. */
export function describeValue(ctx: RuleContext, name: KeyName): string {
  return `${shown(ctx, name)} (${describeSource(ctx.resolution.sources.get(name) ?? { kind: 'default' })})`
}

function shown({ resolution }: RuleContext, name: KeyName): string {
  const value = resolution.values[name]
  if (value === undefined) return 'nothing'
  if (!(value instanceof Secret)) return value.toString()
  const spec: KeySpec<unknown> = keys[name]
  return spec.secret === 'url' ? redactUrl(value.reveal()) : '[secret]'
}
