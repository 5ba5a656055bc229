// What one message may hold, the same for every adapter: headers that survive the line protocol unchanged, and the
// size the server will count.
import { BusError, invalid } from '../base/errors.ts'
import type { LinkHeaders } from './link.ts'

const headerName = /^[a-z0-9-]{1,64}$/
/** Control characters would break the line, white space at an end would be trimmed. */
const badValue = /\p{Cc}|^\s|\s$/u
/** What nearly every value is: as many bytes as characters, and nothing that could go wrong. */
const plainValue = /^(?:[!-~](?:[ -~]*[!-~])?)?$/
/** The version line that begins a header block, and the empty line that ends it. */
const versionLine = 'NATS/1.0\r\n'
const blockEnd = '\r\n'
/** Names that were good before: of the few there are, nearly all. */
const goodNames = new Set<string>()
const maxGoodNames = 256

/** Header block of the line protocol, of the version line and one line each; empty where there are none. */
export interface HeaderBlock {
  readonly text: string
  /** Of its UTF-8; as many as it has characters where all is ASCII. */
  readonly bytes: number
}

const noHeaders: HeaderBlock = { text: '', bytes: 0 }

/** Throws VALIDATION_ERROR / BAD_HEADER for headers that would not arrive as they were. */
export function headerBlock(headers: LinkHeaders | undefined): HeaderBlock {
  if (headers === undefined) return noHeaders
  let text = versionLine
  let isPlain = true
  for (const name in headers) {
    const value = headers[name]!
    if (!goodNames.has(name)) checkName(name)
    if (!plainValue.test(value)) {
      if (badValue.test(value) || !value.isWellFormed()) throw badHeader()
      isPlain = false
    }
    text += `${name}: ${value}\r\n`
  }
  if (text === versionLine) return noHeaders
  text += blockEnd
  return { text, bytes: isPlain ? text.length : Buffer.byteLength(text) }
}

function checkName(name: string): void {
  if (!headerName.test(name)) throw badHeader()
  if (goodNames.size < maxGoodNames) goodNames.add(name)
}

function badHeader(): BusError {
  return invalid('BAD_HEADER', 'not a header of the link')
}

/**
 * Throws LIMIT_EXCEEDED above `maxPayload`: the server counts data and header block against its `max_payload`. Throws
 * VALIDATION_ERROR / BAD_HEADER for bad headers. Gives back the header block.
 */
export function checkPayload(data: Uint8Array, headers: LinkHeaders | undefined, maxPayload: number): HeaderBlock {
  const block = headerBlock(headers)
  const bytes = data.length + block.bytes
  if (bytes > maxPayload) {
    throw new BusError('LIMIT_EXCEEDED', `The link takes messages up to ${maxPayload} bytes`, {
      reason: 'PAYLOAD_TOO_LARGE',
      limit: 'link_payload',
      max: maxPayload,
      bytes,
    })
  }
  return block
}
