// Making and recognising ids. Portable: Web Crypto only, so that the client SDK can use it in a browser.

const hexDigits = '0123456789abcdef'

/** `bytes` random bytes as lower-case hex (CSPRNG). */
export function randomHex(bytes: number): string {
  const raw = crypto.getRandomValues(new Uint8Array(bytes))
  let text = ''
  for (const byte of raw) text += hexDigits[byte >> 4]! + hexDigits[byte & 15]!
  return text
}

const crockford = '[0-9A-HJKMNP-TV-Z]'
const messageIdForms: readonly RegExp[] = [
  /^arq_\d{1,20}_\d{1,16}_[0-9a-fA-F]{6}$/, // the original's generated form
  new RegExp(`^arq_${crockford}{26}$`), // the original's second form
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i, // UUIDv7 (RFC 9562)
  new RegExp(`^[0-7]${crockford}{25}$`), // ULID
]

/** Is this one of the four accepted message id forms? (original-contract 2.2, design 5) */
export function isMessageId(id: string): boolean {
  return id.length <= 64 && messageIdForms.some((form) => form.test(id))
}

/** A maker of message ids in the original's form `arq_<start ns>_<counter>_<6 hex>`, ordered within one maker. */
export function createMessageIds(startedAtMs: number): () => string {
  const prefix = `arq_${startedAtMs}000000_`
  let counter = 0
  return () => `${prefix}${++counter}_${randomHex(3)}`
}

/** `process` is 8 hex naming this process; the result routes private messages without a look-up (design 5). */
export function createClientId(process: string): string {
  return `arq_client_${process}${randomHex(12)}`
}

const clientIdForm = /^arq_client_([0-9a-f]{8})([0-9a-f]{24})$/

/** The process part of a client id, or undefined when the text is not one. */
export function processOfClientId(id: string): string | undefined {
  return clientIdForm.exec(id)?.[1]
}
