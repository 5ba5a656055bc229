// The commands of a document: in ```console fences, `$ ` before each, what it prints below. Runs them in order and gives
// the document back with what they printed now.

const fence = /^```console\n([\s\S]*?)^```$/gm

/** `run` gives what the command prints. */
export async function fillConsoles(markdown: string, run: (command: string) => Promise<string>): Promise<string> {
  const parts: string[] = []
  let at = 0
  for (const match of markdown.matchAll(fence)) {
    parts.push(markdown.slice(at, match.index), '```console\n')
    for (const command of commandsOf(match[1]!)) parts.push(`$ ${command}\n`, await run(command))
    parts.push('```')
    at = match.index + match[0].length
  }
  parts.push(markdown.slice(at))
  return parts.join('')
}

const commandsOf = (body: string): string[] => [...body.matchAll(/^\$ (.+)$/gm)].map((match) => match[1]!)

/** What differs from run to run becomes `#`. */
export function withoutFigures(markdown: string): string {
  return markdown
    .replaceAll(/\b[0-9a-f]{32,64}\b/g, '#')
    .replaceAll(/\b\d{4}-\d{2}-\d{2}T[\d:.]+Z\b/g, '#')
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:#')
    .replaceAll(/-?\d+:-?\d+$/gm, '#:#')
    .replaceAll(/\d+\.\d+ (s|MB)\b/g, '# $1')
    .replaceAll(/\b\d+ s\b/g, '# s')
}
