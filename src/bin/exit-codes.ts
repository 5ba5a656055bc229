// Exit codes (the numbers of sysexits.h where there is one), and how any error becomes one with words that help.
import { isBusError } from '../base/errors.ts'
import { ClientError } from '../client/client.ts'

export const exitCodes = { ok: 0, failure: 1, usage: 64, input: 65, unreachable: 69, denied: 77, config: 78 } as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** Ends a command: the message says what is wrong, `hint` what to change. */
export class ExitError extends Error {
  readonly exitCode: ExitCode
  readonly hint: string | undefined

  constructor(exitCode: ExitCode, message: string, hint?: string) {
    super(message)
    this.name = 'ExitError'
    this.exitCode = exitCode
    this.hint = hint
  }
}

const denials = ['AUTHENTICATION_FAILED', 'AUTHORIZATION_ERROR', 'TENANT_MISMATCH', 'POLICY_DENIED', 'LINK_DENIED']
const byCode: Readonly<Record<string, ExitCode>> = {
  ...Object.fromEntries(denials.map((code) => [code, exitCodes.denied])),
  CONFIG_INVALID: exitCodes.config,
  START_REFUSED: exitCodes.config,
  STORE_OPEN_FAILED: exitCodes.config,
  STORE_CORRUPT: exitCodes.config,
  STORE_UNAVAILABLE: exitCodes.unreachable,
  STORE_TIMEOUT: exitCodes.unreachable,
  PORT_UNAVAILABLE: exitCodes.unreachable,
  LINK_UNAVAILABLE: exitCodes.unreachable,
  KEYS_UNAVAILABLE: exitCodes.unreachable,
  CONNECTION_FAILED: exitCodes.unreachable,
  CONNECTION_LOST: exitCodes.unreachable,
  CLIENT_CLOSED: exitCodes.unreachable,
  USAGE: exitCodes.usage,
}

const inputReasons: readonly unknown[] = ['WAIVER_INVALID', 'PREFLIGHT_POLICY_INVALID', 'PLUGIN_INVALID']

/** What to print for an error and which code to exit with. An error nobody foresaw keeps its stack. */
export function describeFailure(error: unknown): { exitCode: ExitCode; lines: readonly string[] } {
  if (error instanceof ExitError) {
    return { exitCode: error.exitCode, lines: [error.message, ...(error.hint === undefined ? [] : [error.hint])] }
  }
  if (error instanceof ClientError || isBusError(error)) {
    const reason = error.details['reason']
    const suffix = typeof reason === 'string' ? ` (${reason})` : ''
    const lines = [`${error.code}${suffix}: ${error.message}`]
    if (error instanceof ClientError && error.outcome === 'unknown') {
      lines.push('It is not known whether it was stored; send it again with the same --id.')
    }
    // Files of the preflight are its input, wherever a command reads them; servers wrap them in START_REFUSED.
    if (inputReasons.includes(reason)) return { exitCode: exitCodes.input, lines }
    // A store that refuses the credentials is no wrong configuration, whatever refused to open.
    const isDenied = error.code === 'STORE_OPEN_FAILED' && reason === 'DENIED'
    return { exitCode: isDenied ? exitCodes.denied : (byCode[error.code] ?? exitCodes.failure), lines }
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { exitCode: exitCodes.failure, lines: [`unexpected: ${text}`] }
}
