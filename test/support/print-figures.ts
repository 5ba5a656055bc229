// Figures a test has seen, for whoever reads its output: a bound that holds says little without them.

export function printFigures(about: string, figures: object | string): void {
  process.stdout.write(`${about}: ${typeof figures === 'string' ? figures : JSON.stringify(figures)}\n`)
}
