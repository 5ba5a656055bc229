// The protocol of Valkey and Redis (RESP 3), as far as asking and understanding an answer takes it.

/** A reply by which the server refuses; no error of ours. */
export class ErrorReply {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  /** Its first word: `NOPERM`, `ERR`. */
  get word(): string {
    return /^[A-Z]+\b/.exec(this.text)?.[0] ?? 'ERR'
  }
}

/** Strings are UTF-8, maps are flat lists of names and values. */
export type RespReply = string | number | boolean | null | ErrorReply | readonly RespReply[]

/** What came is no reply: somebody else answers. */
export class NotRespError extends Error {
  /** The first bytes, for an operator; what cannot be printed is a dot. */
  readonly shown: string

  constructor(bytes: Buffer) {
    super('not RESP')
    this.name = 'NotRespError'
    this.shown = bytes
      .subarray(0, 24)
      .toString('latin1')
      .replace(/[^ -~]/g, '.')
  }
}

export interface ParsedReply {
  readonly reply: RespReply
  /** Sent by the server of its own accord: an answer to nothing. */
  readonly isPush: boolean
  /** Where the next one begins. */
  readonly end: number
}

// More than INFO ever takes; whoever sends a longer line or text is no server that we would ask.
const maxLine = 64 * 1024
const maxText = 8 * 1024 * 1024
const maxItems = 100_000
const maxDepth = 16

export function encodeCommand(args: readonly string[]): Buffer {
  const parts = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`)
  return Buffer.from(`*${args.length}\r\n${parts.join('')}`, 'utf8')
}

/** The reply that begins at `from`; undefined while it is not whole. Throws NotRespError. */
export function parseReply(bytes: Buffer, from = 0, depth = 0): ParsedReply | undefined {
  if (from >= bytes.length) return undefined
  const type = String.fromCharCode(bytes[from]!)
  if (!'+-:$*%~_#,(=!>'.includes(type) || depth > maxDepth) throw new NotRespError(bytes.subarray(from))
  const lineEnd = bytes.indexOf('\r\n', from + 1, 'latin1')
  if (lineEnd === -1 && bytes.length - from > maxLine) throw new NotRespError(bytes.subarray(from))
  if (lineEnd === -1) return undefined
  const line = bytes.toString('utf8', from + 1, lineEnd)
  const next = lineEnd + 2
  const whole = (reply: RespReply): ParsedReply => ({ reply, isPush: false, end: next })
  const count = (most: number): number => {
    if (!/^(?:-1|\d{1,9})$/.test(line) || Number(line) > most) throw new NotRespError(bytes.subarray(from))
    return Number(line)
  }
  switch (type) {
    case '+':
      return whole(line)
    case '-':
      return whole(new ErrorReply(line))
    case ':':
    case ',':
    case '(':
      if (!/^[+-]?(?:\d[\d.e+-]*|inf|nan)$/i.test(line)) throw new NotRespError(bytes.subarray(from))
      return whole(Number(line))
    case '_':
      return whole(null)
    case '#':
      return whole(line === 't')
    case '$':
    case '=':
    case '!':
      return parseText(bytes, { type, length: count(maxText), next })
    default:
      return parseList(bytes, { type, items: count(maxItems), next, depth })
  }
}

function parseText(
  bytes: Buffer,
  { type, length, next }: { readonly type: string; readonly length: number; readonly next: number },
): ParsedReply | undefined {
  if (length === -1) return { reply: null, isPush: false, end: next }
  const end = next + length + 2
  if (bytes.length < end) return undefined
  const text = bytes.toString('utf8', next, end - 2)
  // A verbatim text says first what it is: `txt:`.
  const reply = type === '!' ? new ErrorReply(text) : type === '=' ? text.slice(4) : text
  return { reply, isPush: false, end }
}

function parseList(
  bytes: Buffer,
  list: { readonly type: string; readonly items: number; readonly next: number; readonly depth: number },
): ParsedReply | undefined {
  if (list.items === -1) return { reply: null, isPush: false, end: list.next }
  const replies: RespReply[] = []
  let end = list.next
  for (let left = list.type === '%' ? list.items * 2 : list.items; left > 0; left--) {
    const item = parseReply(bytes, end, list.depth + 1)
    if (item === undefined) return undefined
    replies.push(item.reply)
    end = item.end
  }
  return { reply: replies, isPush: list.type === '>', end }
}
