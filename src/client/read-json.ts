// Reads an envelope that a server sent as JSON. More forgiving than a server's parser: keys of later versions are
// dropped, not refused, so that an old client goes on working.
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { type Envelope, optionalTextFields } from '../envelope/envelope.ts'

/** Throws a TypeError for anything that is not an envelope. */
export function readJsonEnvelope(text: string): Envelope {
  const raw: unknown = JSON.parse(text)
  if (!isJsonObject(raw)) throw new TypeError('not a JSON object')
  const envelope: Envelope = {
    id: textOf(raw, 'id'),
    timestamp: textOf(raw, 'timestamp'),
    // A type this version does not know is passed on as it is; nobody here switches over types exhaustively.
    type: textOf(raw, 'type') as Envelope['type'],
    version: textOf(raw, 'version'),
    payload: raw['payload'] ?? {},
    args: objectOf(raw['args']),
    metadata: objectOf(raw['metadata']),
  }
  for (const field of optionalTextFields) {
    const value = raw[field]
    if (typeof value === 'string') envelope[field] = value
  }
  return envelope
}

function textOf(raw: JsonObject, field: string): string {
  const value = raw[field]
  if (typeof value !== 'string') throw new TypeError(`${field} is missing`)
  return value
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}
