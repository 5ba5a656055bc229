// Log lines as JSON on standard error. The only importer of pino.
import { destination, pino } from 'pino'

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

export type LogFields = Readonly<Record<string, unknown>>

/** `event` is a past-tense dotted name (`session.opened`). Fields never hold payloads, tokens or raw error objects. */
export interface Logger {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** Writes synchronously to file descriptor 2, so that the last line before an exit is not lost. */
export function createLogger(level: LogLevel, program: string): Logger {
  const out = pino(
    { level, base: { program }, messageKey: 'event', timestamp: () => `,"at":"${new Date().toISOString()}"` },
    destination({ dest: 2, sync: true }),
  )
  return {
    debug: (event, fields = {}) => out.debug(fields, event),
    info: (event, fields = {}) => out.info(fields, event),
    warn: (event, fields = {}) => out.warn(fields, event),
    error: (event, fields = {}) => out.error(fields, event),
  }
}

/** What may be logged of an error: name, code, message; one level of cause. Never the object itself, which may hold secrets. */
export function describeError(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error: typeof error }
  const code = (error as { code?: unknown }).code
  const cause = error.cause instanceof Error ? `${error.cause.name}: ${error.cause.message}` : undefined
  return {
    error: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(cause !== undefined && { cause }),
  }
}
