// Does an answer of a plug-in hold a secret of the environment that is judged? Then it is no answer: what is redacted
// later would have told the same, but a plug-in that does so once will do so elsewhere.
import type { RuleContext } from '../../rules/rule.ts'
import { knownSecrets } from '../incident/known-secrets.ts'
import { createRedactor } from '../incident/redact.ts'

/** Names of the variables, in whatever encoding their values stand there. */
export function leaksOf(text: string, ctx: Pick<RuleContext, 'resolution' | 'files'>): readonly string[] {
  const noKey = (): Buffer => Buffer.alloc(32) // fingerprints are made for markers only, and none is
  return createRedactor(knownSecrets(ctx), noKey).remains(Buffer.from(text, 'utf8'))
}
