// What the checks of a report require of each other, as SVG. Time runs to the right; each category has a lane. Root
// causes and the paths from them to what waits are lit. No script, no style of its own: classes only.
import { categoryOf } from '../check.ts'
import { type About, didFail, type Row } from './view.ts'
import { html } from './html-text.ts'

interface Node {
  readonly row: Row
  readonly x: number
  readonly y: number
}

const column = 176
const rowHeight = 30
const box = { width: 150, height: 22 }
const laneLabel = 132
const lanePad = 8

/** Empty where nothing requires anything and nothing failed. A root cause is shown also where nothing waits on it. */
export function dependencyGraph(rows: readonly Row[], about: About, rootCauses: readonly string[]): string {
  const edges = reducedEdges(rows, about)
  const roots = new Set(rootCauses)
  const linked = new Set(edges.flat())
  const shown = rows.filter(({ result: { id } }) => linked.has(id) || roots.has(id))
  if (shown.length === 0) return ''
  const { nodes, lanes, width, height } = layOut(shown, edges)
  return [
    `<svg class="graph" role="img" aria-label="What the checks require of each other" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" xmlns="http://www.w3.org/2000/svg">`,
    ...lanes.map(
      ({ name, y, height: tall }, at) =>
        `<rect class="lane${at % 2}" x="0" y="${y}" width="${width}" height="${tall}"/><text class="lane" x="10" y="${y + tall / 2 + 4}">${html(name)}</text>`,
    ),
    ...edges.map(([from, to]) => edgeSvg(nodes.get(from)!, nodes.get(to)!)),
    ...[...nodes.values()].map((node) => nodeSvg(node, roots.has(node.row.result.id))),
    '</svg>',
  ].join('\n')
}

type Edge = readonly [from: string, to: string]

/** Without those that follow from others: a chain is drawn as a chain. */
function reducedEdges(rows: readonly Row[], about: About): Edge[] {
  const ids = new Set(rows.map(({ result }) => result.id))
  const needs = new Map(
    rows.map(({ result: { id } }) => [id, (about.get(id)?.requires ?? []).filter((one) => ids.has(one))]),
  )
  const below = new Map<string, ReadonlySet<string>>()
  function allBelow(id: string): ReadonlySet<string> {
    const known = below.get(id)
    if (known !== undefined) return known
    const all = new Set<string>()
    below.set(id, all) // also ends a circle, which a catalogue cannot have
    for (const one of needs.get(id) ?? []) {
      all.add(one)
      for (const other of allBelow(one)) all.add(other)
    }
    return all
  }
  return rows.flatMap(({ result: { id } }) => {
    const own = needs.get(id) ?? []
    return own.filter((one) => !own.some((other) => allBelow(other).has(one))).map((one): Edge => [one, id])
  })
}

function layOut(rows: readonly Row[], edges: readonly Edge[]) {
  const depth = new Map<string, number>()
  // Rows are in plan order: what is required stands before what requires it.
  for (const { result } of rows) {
    const before = edges.filter(([, to]) => to === result.id).map(([from]) => depth.get(from) ?? 0)
    depth.set(result.id, before.length === 0 ? 0 : Math.max(...before) + 1)
  }
  const nodes = new Map<string, Node>()
  const lanes: { name: string; y: number; height: number }[] = []
  let y = 0
  for (const name of new Set(rows.map(({ result }) => categoryOf(result.id)))) {
    const own = rows.filter(({ result }) => categoryOf(result.id) === name)
    const used = new Map<number, number>()
    for (const row of own) {
      const at = depth.get(row.result.id)!
      const slot = used.get(at) ?? 0
      used.set(at, slot + 1)
      nodes.set(row.result.id, { row, x: laneLabel + at * column, y: y + lanePad + slot * rowHeight })
    }
    const height = Math.max(...used.values()) * rowHeight + lanePad
    lanes.push({ name, y, height })
    y += height
  }
  const columns = Math.max(...depth.values()) + 1
  return { nodes, lanes, width: laneLabel + columns * column, height: y }
}

/** The check at the root of what `row` waits on. */
const rootOf = ({ result }: Row): string | undefined =>
  result.status === 'skip' && result.reason.kind === 'blocked-by' ? result.reason.id : undefined

function edgeSvg(from: Node, to: Node): string {
  const root = rootOf(to.row)
  const isLit = root !== undefined && (from.row.result.id === root || rootOf(from.row) === root)
  const [x1, y1] = [from.x + box.width, from.y + box.height / 2]
  const [x2, y2] = [to.x, to.y + box.height / 2]
  const bend = Math.max(12, (x2 - x1) / 2)
  return `<path class="edge${isLit ? ' lit' : ''}" d="M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}"/>`
}

function nodeSvg({ row, x, y }: Node, isRoot: boolean): string {
  const { result, status, title } = row
  const name = result.id.slice(categoryOf(result.id).length + 1)
  const short = name.length > 22 ? `${name.slice(0, 21)}…` : name
  const target = didFail(row) || status === 'waived' ? `card-${result.id}` : `row-${result.id}`
  return [
    `<a href="#${html(target)}"><g class="node ${status}${isRoot ? ' root' : ''}">`,
    `<title>${html(`${result.id}: ${status}\n${title}${row.because === undefined ? '' : `\n${row.because}`}`)}</title>`,
    `<rect x="${x}" y="${y}" width="${box.width}" height="${box.height}" rx="4"/>`,
    `<text x="${x + 8}" y="${y + 15}">${html(short)}</text></g></a>`,
  ].join('')
}
