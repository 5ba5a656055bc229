// What goes into a bundle, before it is redacted: files, and the names of those that could not be had, with why.

export interface Missing {
  /** A file or folder of the bundle. */
  readonly path: string
  readonly why: string
}

export class Collection {
  readonly files = new Map<string, Buffer>()
  readonly missing: Missing[] = []

  /** An empty text is no evidence: it is missing. */
  text(path: string, text: string): void {
    if (text === '') this.missing.push({ path, why: 'it is empty' })
    else this.files.set(path, Buffer.from(text, 'utf8'))
  }

  json(path: string, value: unknown): void {
    this.text(path, `${JSON.stringify(value, undefined, 2)}\n`)
  }

  bytes(path: string, bytes: Buffer): void {
    this.files.set(path, bytes)
  }

  lacks(path: string, why: string): void {
    this.missing.push({ path, why })
  }

  /** Whatever goes wrong with one file is that file's business. */
  try(path: string, make: () => string): void {
    try {
      this.text(path, make())
    } catch (error) {
      this.lacks(path, whyOf(error))
    }
  }
}

export function whyOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code // of a system call
  if (typeof code === 'string') return code
  return error instanceof Error ? error.message : 'unknown error'
}
