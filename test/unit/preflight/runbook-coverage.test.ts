// The runbook and the catalogue held to each other, and the reader of the runbook to its word.
import { describe, expect, it } from 'vitest'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import {
  coverRunbook,
  digestOfText,
  normativeLines,
  notYet,
  readRunbook,
  runbookDigest,
} from '../../../src/preflight/runbook-coverage.ts'

const text = readRunbook()

describe('the runbook and the catalogue', () => {
  const coverage = coverRunbook(text, createCatalogue())

  it('is the text that the checks were written for', () => {
    expect(digestOfText(text)).toBe(runbookDigest)
    expect(coverage.faults).toEqual([])
  })

  it('has a check, or a reason, for every line that states something', () => {
    expect(coverage.orphans).toEqual([])
  })

  it('has every line that a check names', () => {
    expect(coverage.strangers).toEqual([])
  })

  it('keeps no reason whose line has a check by now', () => {
    expect(coverage.stale).toEqual([])
    for (const reason of Object.values(notYet)) expect(reason.length).toBeGreaterThan(10)
  })
})

describe('the reader', () => {
  it('finds every kind of line of the runbook, each once', () => {
    const { lines } = normativeLines(text)
    const ofKind = (kind: string): string[] => lines.filter((line) => line.kind === kind).map(({ line }) => line)
    expect(ofKind('title')).toEqual(['L1'])
    expect(ofKind('date')).toEqual(['L3'])
    expect(ofKind('purpose')).toEqual(['L7'])
    expect(ofKind('precondition')).toEqual(['L11', 'L12', 'L13'])
    expect(ofKind('setting')).toHaveLength(13)
    expect(ofKind('command')).toEqual(['L38', 'L41', 'L42', 'L43', 'L44', 'L45', 'L46', 'L47', 'L50'])
    expect(ofKind('sanity')).toEqual(['L54', 'L55', 'L56', 'L57'])
    expect(ofKind('fail-condition')).toEqual(['L61', 'L62', 'L63', 'L64', 'L65', 'L66'])
    expect(ofKind('incident')).toEqual(['L70', 'L72', 'L73', 'L74', 'L75', 'L77'])
    expect(ofKind('projector')).toEqual(['L81', 'L82', 'L83', 'L84'])
  })

  it('takes no line of the text for nothing but headings, fences and blank ones', () => {
    const { lines } = normativeLines(text)
    const rest = text
      .split('\n')
      .filter((raw, index) => raw.trim() !== '' && !lines.some(({ line }) => line === `L${index + 1}`))
    expect(rest.filter((raw) => !/^(?:## |```)/.test(raw))).toEqual([])
  })

  it.each([
    ['text that runs on', '## Purpose\n\nOne line\nand its rest.\n\nTwo.', ['L3: One line and its rest.', 'L6: Two.']],
    ['items that run on', '## Purpose\n- one\n  more\n* two\n1. three', ['L2: one more', 'L4: two', 'L5: three']],
    [
      'commands, each a line',
      '## Preflight Commands\n```bash\na\n# b\n- c\n```\nd',
      ['L3: a', 'L4: # b', 'L5: - c', 'L7: d'],
    ],
    ['boxes', '## Shield\n- [ ] one\n- [x] two', ['L2: one', 'L3: two']],
    ['CRLF', '## Purpose\r\n\r\nOne.\r\n', ['L3: One.']],
  ])('reads %s', (_name, runbook, expected) => {
    const { lines, faults } = normativeLines(runbook)
    expect(lines.map((line) => `${line.line}: ${line.text}`)).toEqual(expected)
    expect(faults).toEqual([])
  })

  it('names headings that nobody knows, and items of a checklist without a box', () => {
    expect(normativeLines('## Extras\n- a\n').faults).toEqual(['L1: no heading of the runbook is called Extras'])
    expect(normativeLines('## Runtime Sanity Checks\n- a\n').faults).toEqual([
      'L2: an item of a checklist without a box',
    ])
  })
})

describe('coverage', () => {
  const runbook = '## Fail Conditions (Immediate Stop)\n\n- one\n- two\n'

  it('goes both ways', () => {
    const checks = [
      { id: 'b.one', runbook: ['L3'] },
      { id: 'a.one', runbook: ['L3', 'L9'] },
      { id: 'c.extra', runbook: [] },
    ]
    const { lines, orphans, strangers, stale } = coverRunbook(runbook, checks, {})
    expect(lines[0]?.checks).toEqual(['a.one', 'b.one'])
    expect(orphans).toEqual(['L4'])
    expect(strangers).toEqual(['a.one at L9'])
    expect(stale).toEqual([])
  })

  it('lets a reason stand for a check that is missing, and for nothing else', () => {
    const excused = { L3: 'later', L4: 'later', L1: 'no statement' }
    const { orphans, stale } = coverRunbook(runbook, [{ id: 'a', runbook: ['L3'] }], excused)
    expect(orphans).toEqual([])
    expect(stale).toEqual(['L1', 'L3'])
  })

  it('sees a line that is new, and one that has moved', () => {
    const catalogue = createCatalogue()
    const before = coverRunbook(text, catalogue)
    const more = coverRunbook(text.replace('## Incident Notes', '- Clock is wrong.\n\n## Incident Notes'), catalogue)
    expect(more.orphans.filter((line) => !before.orphans.includes(line))).not.toEqual([])
    const moved = coverRunbook(`\n${text}`, catalogue)
    expect(moved.strangers).toContain('meta.runbook-digest at L1')
  })
})
