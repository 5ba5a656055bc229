// What one message may hold, the same for every adapter: headers that survive the line protocol unchanged, and the
// size the server will count.
import { BusError, invalid } from '../base/errors.ts'
import type { LinkHeaders } from './link.ts'

const headerName = /^[a-z0-9-]{1,64}$/
/** Control characters would break the line, white space at an end would be trimmed. */
const badValue = /\p{Cc}|^\s|\s$/u
/** What nearly every value is: as many bytes as characters, and nothing that could go wrong. */
const plainValue = /^(?:[!-~](?:[ -~]*[!-~])?)?$/
const encoder = new TextEncoder()
/** The version line and the empty line that frame a header block. */
const headerFrame = 'NATS/1.0\r\n\r\n'.length
/** `: ` and the line's end. */
const perHeader = 4

/**
 * The bytes the server counts against its `max_payload`: data and header block.
 * Throws VALIDATION_ERROR / BAD_HEADER for headers that would not arrive as they were.
 */
export function payloadBytes(data: Uint8Array, headers: LinkHeaders = {}): number {
  const entries = Object.entries(headers)
  if (entries.length === 0) return data.length
  let total = data.length + headerFrame
  for (const [name, value] of entries) {
    const isPlain = plainValue.test(value)
    if (!headerName.test(name) || (!isPlain && (badValue.test(value) || !value.isWellFormed()))) {
      throw invalid('BAD_HEADER', 'not a header of the link')
    }
    total += name.length + perHeader + (isPlain ? value.length : encoder.encode(value).length)
  }
  return total
}

/** Throws LIMIT_EXCEEDED above `maxPayload`, VALIDATION_ERROR / BAD_HEADER for bad headers. */
export function checkPayload(data: Uint8Array, headers: LinkHeaders | undefined, maxPayload: number): void {
  const bytes = payloadBytes(data, headers)
  if (bytes > maxPayload) {
    throw new BusError('LIMIT_EXCEEDED', `The link takes messages up to ${maxPayload} bytes`, {
      reason: 'PAYLOAD_TOO_LARGE',
      limit: 'link_payload',
      max: maxPayload,
      bytes,
    })
  }
}
