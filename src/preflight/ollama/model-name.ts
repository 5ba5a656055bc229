// How models are named: `llama3.1:8b`, or without a tag, which means `latest`. In our variable a digest may stand behind.

export interface ModelName {
  /** With its tag. */
  readonly name: string
  /** Hex digits, or the first of them. */
  readonly digest?: string
}

const form = /^([^@\s]+)(?:@sha256:([0-9a-f]{12,64}))?$/

/** Undefined for what can be no name. */
export function parseModelName(text: string): ModelName | undefined {
  const [, name, digest] = form.exec(text) ?? []
  if (name === undefined) return undefined
  return { name: withTag(name), ...(digest !== undefined && { digest }) }
}

/** A colon before the last slash is that of a registry's port. */
export function withTag(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1).includes(':') ? name : `${name}:latest`
}
