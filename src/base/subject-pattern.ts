// The grammar of subjects and patterns, the same for the link's adapters and for rules that name subjects: what passes
// here can neither inject a protocol line nor match more than its author meant.
import { invalid } from './errors.ts'

const token = /^[A-Za-z0-9_=-]+$/
/** Longer than any subject this system builds; servers refuse protocol lines above 4 KiB. */
const maxSubjectLength = 1_024

/** The tokens of a subject without wildcards. Throws VALIDATION_ERROR / BAD_SUBJECT without echoing it. */
export function parseSubject(subject: string): readonly string[] {
  return parse(subject, (part) => token.test(part))
}

/** Subjects that were good before; emptied when it has grown. */
const goodSubjects = new Set<string>()
const maxGoodSubjects = 4_096

/** Throws as `parseSubject` does; a subject that comes again costs one look. */
export function checkSubject(subject: string): void {
  if (goodSubjects.has(subject)) return
  parseSubject(subject)
  if (goodSubjects.size >= maxGoodSubjects) goodSubjects.clear()
  goodSubjects.add(subject)
}

/** As `parseSubject`, where `*` may stand for one token and a last `>` for one token or more. */
export function parsePattern(pattern: string): readonly string[] {
  return parse(pattern, (part, isLast) => part === '*' || (part === '>' && isLast) || token.test(part))
}

function parse(text: string, isGood: (part: string, isLast: boolean) => boolean): readonly string[] {
  const tokens = text.length > maxSubjectLength ? [] : text.split('.')
  if (tokens.length === 0 || !tokens.every((part, i) => isGood(part, i === tokens.length - 1))) {
    throw invalid('BAD_SUBJECT', 'not a subject of the link')
  }
  return tokens
}

/** Does the pattern cover the subject? Both as their parsers gave them. */
export function matches(pattern: readonly string[], subject: readonly string[]): boolean {
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '>') return subject.length > i
    if (i >= subject.length || (pattern[i] !== '*' && pattern[i] !== subject[i])) return false
  }
  return pattern.length === subject.length
}
