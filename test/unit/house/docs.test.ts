import { describe, expect, it } from 'vitest'
import { errorTable } from '../../../src/base/errors.ts'
import { brokenLinks, machinePaths } from '../../../scripts/doc-rules.ts'
import { fillTables, tables } from '../../../scripts/docs-tables.ts'

const broken = (files: Record<string, string>): string[] => brokenLinks(new Map(Object.entries(files)), () => false)

describe('the tables of the docs', () => {
  it('have a row for every code, and no cell that breaks its row', () => {
    for (const [name, make] of Object.entries(tables)) {
      const [head, , ...rows] = make().split('\n')
      const columns = (line: string): number => line.replaceAll('\\|', '').split('|').length
      expect(rows.length, name).toBeGreaterThan(3)
      for (const row of rows) expect(columns(row), row).toBe(columns(head!))
    }
    for (const code of Object.keys(errorTable)) expect(tables['errors']!()).toContain(`\`${code}\``)
  })

  it('replace what stands between their marks, and only that', () => {
    const before = 'a\n<!-- table: layers -->\nold\n<!-- end -->\nb\n'
    const after = fillTables(before)
    expect(after).toMatch(/^a\n<!-- table: layers -->\n\n\| part \|[\s\S]*\|\n\n<!-- end -->\nb\n$/)
    expect(fillTables(after)).toBe(after)
    expect(() => fillTables('<!-- table: nonsense -->\n<!-- end -->')).toThrow('nonsense')
  })
})

describe('the rules for documents', () => {
  it('catch links to missing files and headings, and paths out of the repository', () => {
    const other = '# A heading, with `code`\n'
    expect(
      broken({
        'docs/a.md': '[x](b.md#a-heading-with-code) [y](https://example.com) [z](#own)\n## own',
        'docs/b.md': other,
      }),
    ).toEqual([])
    expect(broken({ 'docs/a.md': '[x](c.md)' })).toHaveLength(1)
    expect(broken({ 'docs/a.md': '[x](b.md#other)', 'docs/b.md': other })).toHaveLength(1)
    expect(broken({ 'a.md': '[x](../b.md)' })).toHaveLength(1)
    expect(broken({ 'a.md': '```\n[x](c.md)\n```\n`[x](c.md)`' })).toEqual([])
  })

  it("catch a machine's paths", () => {
    const seen = (text: string): number => machinePaths(new Map([['a.md', text]])).length
    expect(seen(['see ', 'home', 'someone', 'x'].join('/'))).toBe(1)
    expect(seen('open `./data` at /ws, or GET /status')).toBe(0)
  })
})
