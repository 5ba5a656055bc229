// The tables in docs/ that are made from code, as Markdown. Pure: text in, text out.
import { closeTable } from '../src/base/close-codes.ts'
import { errorTable, type ErrorSpec } from '../src/base/errors.ts'
import { commandTable } from '../src/router/table.ts'
import { layers } from '../layers.mjs'

export const tables: Readonly<Record<string, () => string>> = {
  errors: () =>
    table(
      ['code', 'who acts', 'send again', 'after (ms)', 'outcome of a publish', 'meaning'],
      Object.entries<ErrorSpec>(errorTable).map(([code, spec]) => [
        `\`${code}\``,
        spec.fault,
        spec.retry ? 'yes' : 'no',
        String(spec.retryAfterMs ?? '–'),
        spec.outcome.replace('_', ' '),
        spec.text,
      ]),
    ),
  closes: () =>
    table(
      ['code', 'name', 'what the client does', 'meaning'],
      Object.entries(closeTable).map(([name, { code, next, text }]) => [
        String(code),
        `\`${name}\``,
        { reconnect: 'comes back', 'new-token': 'comes back with a new token', 'stay-away': 'stays away' }[next],
        text,
      ]),
    ),
  commands: () =>
    table(
      ['command', 'permission', 'arguments', 'what it does'],
      Object.entries(commandTable).map(([name, { permission, args, summary }]) => [
        `\`${name}\``,
        permission,
        Object.entries(args)
          .map(([arg, takes]) => `\`${arg}\`: ${takes}`)
          .join('<br>') || '–',
        summary,
      ]),
    ),
  layers: () =>
    table(
      ['part', 'may import'],
      Object.entries(layers).map(([part, uses]) => [`\`${part}\``, uses.length === 0 ? 'nothing' : uses.join(', ')]),
    ),
}

/** `|` inside a cell would end it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

/** Fills every `<!-- table: name -->` … `<!-- end -->` of a document. Throws for a name that is no table. */
export function fillTables(markdown: string): string {
  return markdown.replaceAll(/(<!-- table: ([\w-]+) -->\n)[\s\S]*?(<!-- end -->)/g, (_, start, name: string, end) => {
    const make = Object.hasOwn(tables, name) ? tables[name] : undefined
    if (make === undefined) throw new Error(`no table is called ${name}`)
    return `${start}\n${make()}\n\n${end}`
  })
}

/** The names of the tables a document holds. */
export function tablesIn(markdown: string): string[] {
  return [...markdown.matchAll(/<!-- table: ([\w-]+) -->/g)].map((match) => match[1]!)
}
