// Strict readers of the formats that reports are written in: they take what the standards allow of what we write, and
// throw for everything else.

export interface XmlElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly XmlElement[]
  readonly text: string
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decodeXml(text: string): string {
  if (/<|(?![\t\n\r])[\p{Cc}\ufffe\uffff]/u.test(text)) throw new Error(`not allowed in XML: ${JSON.stringify(text)}`)
  if (!text.isWellFormed()) throw new Error('half a surrogate pair')
  return text.replaceAll(/&([^;&]*)(;?)/g, (all, name: string, end: string) => {
    const number = /^#(\d+)$/.exec(name)?.[1]
    const decoded = number === undefined ? entities[name] : String.fromCodePoint(Number(number))
    if (end === '' || decoded === undefined) throw new Error(`no such entity: ${all}`)
    return decoded
  })
}

/** One document with one root; elements, attributes, text. */
export function parseXml(text: string): XmlElement {
  const head = /^<\?xml version="1\.0" encoding="UTF-8"\?>\n/.exec(text)
  if (head === null) throw new Error('no XML declaration')
  let at = head[0].length
  const token = /<\/([\w.:-]+)>|<([\w.:-]+)((?:\s+[\w.:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)/y
  interface Open {
    name: string
    attributes: Record<string, string>
    children: XmlElement[]
    text: string
  }
  const open: Open[] = [{ name: '', attributes: {}, children: [], text: '' }]
  while (at < text.length) {
    token.lastIndex = at
    const match = token.exec(text)
    if (match === null) throw new Error(`not XML at ${at}: ${text.slice(at, at + 60)}`)
    at = token.lastIndex
    const [, closing, opening, attributes = '', selfClosing, chars] = match
    const top = open.at(-1)!
    if (chars !== undefined) top.text += decodeXml(chars)
    else if (opening !== undefined) {
      const element: Open = { name: opening, attributes: {}, children: [], text: '' }
      for (const [, key, value] of attributes.matchAll(/([\w.:-]+)="([^"]*)"/g)) {
        if (Object.hasOwn(element.attributes, key!)) throw new Error(`twice: ${key}`)
        element.attributes[key!] = decodeXml(value!)
      }
      top.children.push(element)
      if (selfClosing !== '/') open.push(element)
    } else if (open.pop()?.name !== closing || open.length === 0) throw new Error(`closes nothing: ${closing}`)
  }
  const [root] = open
  if (open.length !== 1 || root!.children.length !== 1 || root!.text.trim() !== '') throw new Error('not one root')
  return root!.children[0]!
}

export interface TapPoint {
  readonly ok: boolean
  readonly name: string
  readonly directive?: 'SKIP' | 'TODO'
  readonly reason?: string
  readonly facts: Readonly<Record<string, unknown>>
}

/** TAP 14, with values of YAML blocks as JSON. */
export function parseTap(text: string): { readonly points: readonly TapPoint[]; readonly bailOut?: string } {
  const lines = text.split('\n')
  if (lines.shift() !== 'TAP version 14' || lines.pop() !== '') throw new Error('not TAP 14')
  const bailOut = /^Bail out! (.*)$/.exec(lines[0] ?? '')?.[1]
  if (bailOut !== undefined) return { points: [], bailOut }
  const count = Number(/^1\.\.(\d+)$/.exec(lines.shift() ?? '')?.[1])
  const points: TapPoint[] = []
  while (lines.length > 0) {
    const line = lines.shift()!
    const match = /^(not )?ok (\d+) - ([^#]*?)(?: # (SKIP|TODO)(?: (.*))?)?$/.exec(line)
    if (match === null || Number(match[2]) !== points.length + 1) throw new Error(`no test point: ${line}`)
    const facts: Record<string, unknown> = {}
    if (lines[0] === '  ---') {
      lines.shift()
      for (let fact = lines.shift(); fact !== '  ...'; fact = lines.shift()) {
        const [, key, value] = /^ {2}(\w+): (.*)$/.exec(fact ?? '') ?? []
        facts[key!] = JSON.parse(value!)
      }
    }
    points.push({
      ok: match[1] === undefined,
      name: match[3]!,
      ...(match[4] !== undefined && { directive: match[4] as 'SKIP' | 'TODO' }),
      ...(match[5] !== undefined && { reason: match[5] }),
      facts,
    })
  }
  if (points.length !== count) throw new Error(`planned ${count}, found ${points.length}`)
  return { points }
}

export interface MetricSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** OpenMetrics 1.0 text, as far as gauges go: metadata before samples, families together, no sample twice, `# EOF`. */
export function parseOpenMetrics(text: string): MetricSample[] {
  if (!text.endsWith('\n# EOF\n')) throw new Error('no # EOF at the end')
  const samples: MetricSample[] = []
  const seen = new Set<string>()
  let family = ''
  let hasSamples = false
  for (const line of text.slice(0, -'# EOF\n'.length).trimEnd().split('\n')) {
    const meta = /^# (TYPE|UNIT|HELP) ([a-z_]+) (.+)$/.exec(line)
    if (meta !== null) {
      const [, kind, name, rest] = meta
      if (name !== family) {
        if (kind !== 'TYPE' || seen.has(name!)) throw new Error(`family out of order: ${line}`)
        seen.add(name!)
        family = name!
        hasSamples = false
      } else if (hasSamples) throw new Error(`metadata after samples: ${line}`)
      if (kind === 'TYPE' && rest !== 'gauge') throw new Error(`no gauge: ${line}`)
      if (kind === 'UNIT' && !name!.endsWith(`_${rest}`)) throw new Error(`unit is not in the name: ${line}`)
      continue
    }
    const sample = /^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(
      line,
    )
    if (sample === null || sample[1] !== family) throw new Error(`no sample of ${family}: ${line}`)
    const key = `${sample[1]}{${sample[2] ?? ''}}`
    if (seen.has(key)) throw new Error(`twice: ${key}`)
    seen.add(key)
    hasSamples = true
    const labels = Array.from((sample[2] ?? '').matchAll(/([a-z]+)="((?:[^"\\]|\\.)*)"/g), ([, name, value]) => [
      name!,
      value!.replaceAll(/\\(.)/g, (_, mark: string) => (mark === 'n' ? '\n' : mark)),
    ])
    samples.push({ name: family, labels: Object.fromEntries(labels), value: Number(sample[3]) })
  }
  return samples
}

export interface WorkflowCommand {
  readonly kind: string
  readonly title: string
  readonly message: string
}

/** As the runner reads them: it trims a line, then looks for `::`. */
export function parseWorkflowCommands(text: string): WorkflowCommand[] {
  const decode = (value: string): string =>
    value
      .replaceAll('%0D', '\r')
      .replaceAll('%0A', '\n')
      .replaceAll('%3A', ':')
      .replaceAll('%2C', ',')
      .replaceAll('%25', '%')
  return text
    .trimEnd()
    .split(/[\r\n]/)
    .map((line) => {
      const match = /^::(error|warning|notice) title=([^:,]*)::(.*)$/s.exec(line)
      if (match === null) throw new Error(`no workflow command: ${line}`)
      return { kind: match[1]!, title: decode(match[2]!), message: decode(match[3]!) }
    })
}
