// Finds the bearer token of a request. Says nothing about whether it is good.

/**
 * The token of an `Authorization` header, or undefined. Strict, as Shield is: exactly `Bearer ` and the rest as it
 * stands. Otherwise, as the bus is: any case of the scheme, spaces around trimmed (original-contract 3.1, 10.2).
 */
export function tokenFromHeader(header: string | undefined, { strict }: { strict: boolean }): string | undefined {
  if (header === undefined) return undefined
  if (strict) return header.startsWith('Bearer ') && header.length > 7 ? header.slice(7) : undefined
  const text = header.trim()
  const token = text.slice(7).trim()
  return text.slice(0, 7).toLowerCase() === 'bearer ' && token !== '' ? token : undefined
}

const queryKeys = ['token', 'access_token', 'auth_token'] as const

/** The token in the query of a request target: the first of `token`, `access_token`, `auth_token` that is not empty. */
export function tokenFromQuery(target: string): string | undefined {
  const start = target.indexOf('?')
  if (start === -1) return undefined
  const query = new URLSearchParams(target.slice(start + 1))
  for (const key of queryKeys) {
    const token = query.get(key)
    if (token !== null && token !== '') return token
  }
  return undefined
}
