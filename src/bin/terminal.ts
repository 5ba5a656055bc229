// Where a command reads and writes. Everything a command needs of its process is in here, once.

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Program, script and arguments, as they were given. */
  readonly argv: readonly string[]
  readonly cwd: string
  readonly stdin: AsyncIterable<string | Uint8Array>
  /** Results: one line on standard output. */
  out(line: string): void
  /** Everything else: one line on standard error. */
  note(line: string): void
  /** A line on standard error as it is, for machines that read logs. */
  log(line: string): void
  /** A line on standard error that the next one takes the place of, and '' takes away; only where a person watches. */
  readonly status?: (line: string) => void
  /** The code to end with when nothing fails; 0 without a call. */
  exitWith(code: number): void
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly stop: AbortSignal
}

/** Signals of one key press arrive twice when a launcher passes them on; later ones mean it. */
const sameSignalMs = 500

export function createTerminal(process: NodeJS.Process): Terminal {
  const stop = new AbortController()
  let firstAt = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted && performance.now() - firstAt > sameSignalMs) process.exit(130)
      if (stop.signal.aborted) return
      firstAt = performance.now()
      stop.abort()
    })
  }
  // `arqonbus tail … | head -1`: the reader has seen enough, so that is the end of the work and no failure.
  const onPipeError = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error
    process.exit(0)
  }
  process.stdout.on('error', onPipeError)
  process.stderr.on('error', onPipeError)
  return {
    env: process.env,
    argv: process.argv,
    cwd: process.cwd(),
    stdin: process.stdin,
    out: (line) => void process.stdout.write(`${line}\n`),
    note: (line) => void process.stderr.write(`arqonbus: ${line}\n`),
    log: (line) => void process.stderr.write(`${line}\n`),
    ...(process.stderr.isTTY && {
      status: (line: string) => void process.stderr.write(`\r\u001b[2K${line.slice(0, 79)}`),
    }),
    exitWith: (code) => {
      process.exitCode = code
    },
    stop: stop.signal,
  }
}

/** JSON on one line in which nothing can steer a terminal: controls, direction marks and invisible ones are escaped. */
export function toPrintableJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (mark) =>
    Array.from({ length: mark.length }, (_, at) => `\\u${mark.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  )
}

/** A name (room, channel, subject) as a word of a line: as it is when that is safe, else quoted. */
export function toPrintableWord(name: string): string {
  return /^[\p{L}\p{N}_.:+@/*-]+$/u.test(name) ? name : toPrintableJson(name)
}

/** Any value of a server's answer as a word of a line. */
export function toPrintable(value: unknown): string {
  return typeof value === 'string' ? toPrintableWord(value) : toPrintableJson(value)
}
