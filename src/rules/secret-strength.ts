// A lower bound on how much guessing a secret takes, from its text alone. It never praises: repeats, runs, sequences
// and few distinct symbols lower it; what is left counts as drawn from the symbols seen.

export const minSecretBits = 128

/** Longer secrets are judged by their beginning: they are strong by then, and the work stays bounded. */
const maxSymbols = 256

/** A copy of at least this many earlier symbols tells nothing new. */
const minCopy = 4

const keyboardRows = ['qwertyuiop', 'asdfghjkl', 'zxcvbnm', '1234567890']

/** Bits; 0 for an empty text. */
export function estimateBits(text: string): number {
  const symbols = dropSteps(dropCopies(Array.from(text.slice(0, maxSymbols))))
  return symbols.length * Math.log2(Math.max(1, new Set(symbols).size))
}

/** Leaves out every stretch that occurs earlier already, so a repeated word or period counts once. */
function dropCopies(symbols: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < symbols.length; ) {
    const length = longestCopy(symbols, i)
    if (length >= minCopy) i += length
    else kept.push(symbols[i++]!)
  }
  return kept
}

function longestCopy(symbols: readonly string[], at: number): number {
  let longest = 0
  for (let start = 0; start < at; start++) {
    let length = 0
    // Ends by itself: behind the last symbol stands none, and the earlier one is there.
    while (symbols[start + length] === symbols[at + length]) length++
    longest = Math.max(longest, length)
  }
  return longest
}

/** Leaves out symbols that follow from the one before: the same again, the next in the alphabet, the key beside it. */
function dropSteps(symbols: readonly string[]): string[] {
  return symbols.filter((symbol, index) => {
    const before = symbols[index - 1]
    const beforeThat = symbols[index - 2]
    if (before === undefined) return true
    const step = stepOf(before, symbol)
    // One step may be chance (one pair in thirty is); two alike are a run.
    return step === undefined || beforeThat === undefined || stepOf(beforeThat, before) !== step
  })
}

function stepOf(a: string, b: string): string | undefined {
  const distance = b.codePointAt(0)! - a.codePointAt(0)!
  if (Math.abs(distance) <= 1) return `alphabet ${distance}`
  for (const row of keyboardRows) {
    const from = row.indexOf(a.toLowerCase())
    const to = row.indexOf(b.toLowerCase())
    if (from !== -1 && to !== -1 && Math.abs(to - from) === 1) return `keyboard ${to - from}`
  }
  return undefined
}
