// Which variables the judged programs take their token secrets from.
import type { RuleContext } from './rule.ts'

export interface TokenSecret {
  readonly variable: 'JWT_SECRET' | 'ARQONBUS_AUTH_JWT_SECRET'
  readonly text: string
}

/**
 * Those that are set and not empty. Shield reads JWT_SECRET; the bus, where it asks for tokens, its own secret or else
 * JWT_SECRET. In development only Shield's is looked at, for the bus asks for none unless told to.
 */
export function tokenSecrets({ resolution, programs }: RuleContext, includeBus: boolean): TokenSecret[] {
  const { given, values } = resolution
  const variables = new Set<TokenSecret['variable']>()
  if (programs.includes('shield')) variables.add('JWT_SECRET')
  if (includeBus && programs.includes('bus')) {
    if (given.has('ARQONBUS_AUTH_JWT_SECRET')) variables.add('ARQONBUS_AUTH_JWT_SECRET')
    else if (values.enableAuth) variables.add('JWT_SECRET')
  }
  return [...variables].flatMap((variable) => {
    const text = given.get(variable)?.text ?? ''
    return text.trim() === '' ? [] : [{ variable, text }]
  })
}
