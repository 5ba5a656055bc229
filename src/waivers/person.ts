// When two names are one person's: `A.Ngata` and `a.ngata@example.org` are. Rather one person too few than one who
// approves for himself under another address.

/** Equal for names of the same person. */
export const personOf = (name: string): string => name.toLowerCase().replace(/@.*$/, '').replace(/\+.*$/, '')

export const isSamePerson = (a: string, b: string): boolean => personOf(a) === personOf(b)
