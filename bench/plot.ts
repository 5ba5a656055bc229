// A line chart as SVG, both axes logarithmic: how cost grows is what it shows.

export interface Chart {
  readonly title: string
  readonly x: string
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[]
}

const width = 720
const height = 420
const margin = { left: 70, right: 170, top: 40, bottom: 50 }
const colours = [
  '#0b6e4f',
  '#57cc99',
  '#1f77b4',
  '#7fb8e6',
  '#d1495b',
  '#f4a6b0',
  '#b07d12',
  '#edae49',
  '#6a4c93',
  '#b79ced',
]

export function plot({ title, x, lines }: Chart): string {
  const points = lines.flatMap((line) => line.points)
  const range = (values: readonly number[]): [number, number] => [
    10 ** Math.floor(Math.log10(Math.min(...values))),
    10 ** Math.ceil(Math.log10(Math.max(...values))),
  ]
  const [minX, maxX] = range(points.map((point) => point[0]))
  const [minY, maxY] = range(points.map((point) => point[1]))
  const scale = (value: number, low: number, high: number, length: number): number =>
    (Math.log(value / low) / Math.log(high / low)) * length
  const px = (value: number): number =>
    margin.left + scale(value, minX, Math.max(maxX, minX * 10), width - margin.left - margin.right)
  const py = (value: number): number =>
    height - margin.bottom - scale(value, minY, Math.max(maxY, minY * 10), height - margin.top - margin.bottom)
  const parts = [`<text x="${margin.left}" y="22" font-size="15">${title}</text>`]
  for (let tick = minX; tick <= maxX; tick *= 10) {
    parts.push(`<text x="${px(tick)}" y="${height - 28}" text-anchor="middle">${short(tick)}</text>`)
  }
  for (let tick = minY; tick <= maxY; tick *= 10) {
    parts.push(`<text x="${margin.left - 8}" y="${py(tick) + 4}" text-anchor="end">${short(tick)}</text>`)
    parts.push(
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${py(tick)}" y2="${py(tick)}" stroke="#ddd"/>`,
    )
  }
  parts.push(`<text x="${(width - margin.right + margin.left) / 2}" y="${height - 8}" text-anchor="middle">${x}</text>`)
  lines.forEach((line, i) => {
    const colour = colours[i % colours.length]!
    const path = line.points.map(([a, b]) => `${px(a).toFixed(1)},${py(b).toFixed(1)}`).join(' ')
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    for (const [a, b] of line.points)
      parts.push(`<circle cx="${px(a).toFixed(1)}" cy="${py(b).toFixed(1)}" r="3" fill="${colour}"/>`)
    parts.push(
      `<text x="${width - margin.right + 12}" y="${margin.top + 20 * i + 10}" fill="${colour}">${line.name}</text>`,
    )
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>${parts.join('')}</svg>\n`
}

function short(value: number): string {
  return value >= 1e6 ? `${value / 1e6}M` : value >= 1e3 ? `${value / 1e3}k` : String(Number(value.toPrecision(3)))
}
