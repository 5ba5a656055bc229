// The life of a server command: start, say so, wait for a signal, drain, end.
import type { Logger } from '../base/logger.ts'
import { createLogger } from '../base/logger.ts'
import type { PreflightRunsOptions } from '../app/preflight-runs.ts'
import { systemClock } from '../base/clock.ts'
import type { Resolution } from '../config/resolution.ts'
import { describeProblem } from '../config/resolution.ts'
import type { Terminal } from './terminal.ts'

export interface Running {
  /** Drains, then closes everything. */
  close(): Promise<void>
}

/** Runs until the first stop signal, or until `shutdown` is called; a second signal ends at once. */
export async function runServer(terminal: Terminal, start: (shutdown: () => void) => Promise<Running>): Promise<void> {
  const { promise: stopped, resolve: shutdown } = Promise.withResolvers<void>()
  if (terminal.stop.aborted) return
  terminal.stop.addEventListener('abort', () => shutdown())
  const running = await start(shutdown)
  await stopped
  terminal.note('draining; a second signal ends at once')
  await running.close()
}

export function loggerOf({ values, warnings }: Resolution, program: string): Logger {
  const logger = createLogger(values.logLevel, program)
  for (const warning of warnings) logger.warn('config.ignored', { problem: describeProblem(warning) })
  return logger
}

/** For preflights of the running program: this same program again, with what it was started with. */
export function preflightRunsOf(
  { argv }: Pick<Terminal, 'argv'>,
  env: PreflightRunsOptions['env'],
  logger: Logger,
): PreflightRunsOptions {
  const dataDir = env['ARQONBUS_DATA_DIR']
  return {
    command: [process.execPath, ...process.execArgv, ...argv.slice(1, 2)],
    env,
    ...(dataDir !== undefined && dataDir !== '' && { dataDir }),
    clock: systemClock,
    logger,
  }
}
