// What must hold for every Markdown file, as functions over their texts.
import { posix } from 'node:path'

/** Path relative to the repository, with forward slashes -> text. */
export type Documents = ReadonlyMap<string, string>

/** Links and images to files that are not there, or to headings that are not in them. */
export function brokenLinks(documents: Documents, isFile: (path: string) => boolean): string[] {
  return [...documents].flatMap(([path, text]) =>
    linksOf(text).flatMap((link) => {
      if (/^(?:[a-z][a-z+.-]*:|\/\/)/i.test(link)) return [] // another site
      const [file = '', anchor] = decodeURIComponent(link).split('#', 2)
      const target = file === '' ? path : posix.normalize(posix.join(posix.dirname(path), file))
      if (target.startsWith('..')) return [`${path}: ${link} leads out of the repository`]
      const known = documents.get(target)
      if (known === undefined && !isFile(target)) return [`${path}: ${link} does not exist`]
      if (anchor === undefined || known === undefined || anchorsOf(known).has(anchor)) return []
      return [`${path}: ${link} names a heading that is not there`]
    }),
  )
}

/** Paths of somebody's machine. */
export function machinePaths(documents: Documents): string[] {
  const form = /(?:^|[\s`"'(=:])(?:\/(?:home|root|Users|work|mnt)\/\S*|[A-Z]:\\\S*)/gm
  return [...documents].flatMap(([path, text]) =>
    [...text.matchAll(form)].map((match) => `${path}: names a machine's path: ${match[0].trim()}`),
  )
}

function linksOf(markdown: string): string[] {
  const prose = markdown.replaceAll(/^(`{3,})[^`]*?\n[\s\S]*?^\1/gm, '').replaceAll(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^()\s]+)(?:\s+"[^"]*")?\)/g)].map((match) => match[1]!)
}

/** Anchors as code hosts make them: lower case, punctuation dropped, spaces to hyphens. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#{1,6}\s+(.+?)\s*$/gm)].map((match) => match[1]!)
  const explicit = [...markdown.matchAll(/<a (?:id|name)="([^"]+)"/g)].map((match) => match[1]!)
  const slug = (heading: string): string =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-')
  return new Set([...headings.map(slug), ...explicit])
}
