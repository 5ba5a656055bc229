// `arqonbus up`: bus and Shield in one process, on embedded stores, with a development secret of its own.
import { Command } from 'commander'
import { mintToken } from '../../auth/mint.ts'
import { systemClock } from '../../base/clock.ts'
import { version } from '../../base/version.ts'
import { keys } from '../../config/keys.ts'
import { toBusConfig, toShieldConfig } from '../../config/load.ts'
import type { Environment } from '../../config/resolution.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { isCertificateAsked } from '../../certificate/start.ts'
import { configRows } from '../config-rows.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { loggerOf, preflightRunsOf, runServer } from '../run-server.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

export function upCommand(terminal: Terminal): Command {
  return new Command('up')
    .description('Run a whole system on this machine: bus and Shield, history on disk, a development token')
    .option('--data-dir <dir>', 'where history and the development secret are kept (env ARQONBUS_DATA_DIR)')
    .option('--json', 'print what was started as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  arqonbus up
  ARQONBUS_SERVER_PORT=9200 arqonbus up --data-dir /var/tmp/try

Every variable of docs/config.md holds here too. Ends on ^C or SIGTERM after a drain.`,
    )
    .action((options: { dataDir?: string; json?: boolean }) => up(options, terminal))
}

async function up(options: { dataDir?: string; json?: boolean }, terminal: Terminal): Promise<void> {
  const { openDevSecret, startUp, upDefaults } = await import('../../app/up.ts')
  const { openPreflightRuns } = await import('../../app/preflight-runs.ts')
  const { runPreflight } = await import('../../preflight/run.ts')
  const { startInputs } = await import('../../preflight/env-from/start-environment.ts')
  const { parseTargets } = await import('../../preflight/targets.ts')
  const { formatText } = await import('../../preflight/format-text.ts')
  const { formatJson } = await import('../../preflight/format-json.ts')
  const { exitCodeOf } = await import('../../preflight/verdict.ts')
  const ownDir = options.dataDir === undefined ? {} : { ARQONBUS_DATA_DIR: options.dataDir }
  const env: Environment = { ...terminal.env, ...ownDir }
  const dataDir = env['ARQONBUS_DATA_DIR'] ?? keys.dataDir.fallback('dev')
  const secret = await openDevSecret(dataDir)
  const resolution = resolveKeys(env, { overlay: upDefaults(secret) })
  if (isCertificateAsked(resolution)) {
    throw new ExitError(
      exitCodes.config,
      'a certificate is asked for here, and `up` is not what was certified',
      'Start `arqonbus bus` and `arqonbus shield`, or take ARQONBUS_PREFLIGHT_PUBLIC_KEY and _CERTIFICATE away.',
    )
  }
  // What is judged is what starts: this process' own environment.
  const inputs = { ...startInputs('process', { env }), profile: resolution.profile }
  const ports = { overlay: upDefaults(secret) }
  // A system that may not start is not started: the rules are asked before anything opens.
  const before = await runPreflight({ ...inputs, phases: ['static'] }, ports)
  if (before.canonical.verdict === 'NO-GO') {
    terminal.out((options.json === true ? formatJson : formatText)(before).trimEnd())
    terminal.exitWith(exitCodeOf(before.canonical))
    return
  }
  const configs = { bus: toBusConfig(resolution), shield: toShieldConfig(resolution) }
  await runServer(terminal, async (onShutdown) => {
    const logger = loggerOf(resolution, 'up')
    const running = await startUp(configs, {
      clock: systemClock,
      logger,
      // It is judged as what it is: with what `up` lays under the environment.
      preflight: openPreflightRuns(preflightRunsOf(terminal, { ...upDefaults(secret), ...env }, logger)),
      configRows: () => configRows(resolution),
      onShutdown,
    })
    const token = await mintToken({
      secret: env['JWT_SECRET'] ?? secret,
      subject: 'developer',
      tenant: 'default',
      ttlSeconds: 12 * 3_600,
    })
    const { bus, shield } = running
    const addresses = {
      bus: `ws://${configs.bus.server.host}:${bus.wsPort}`,
      shield: `${configs.shield.tls === undefined ? 'ws' : 'wss'}://${configs.shield.server.host}:${shield.wsPort}/ws`,
      http: `http://${configs.bus.http.host}:${bus.httpPort}`,
      metrics: `http://${configs.shield.metrics.host}:${shield.metricsPort}/metrics`,
      ...(bus.telemetryPort !== undefined && { telemetry: `ws://${configs.bus.telemetry.host}:${bus.telemetryPort}` }),
    }
    const { bus: busUrl, http, shield: shieldUrl, telemetry } = addresses
    const targets = parseTargets(
      [
        `bus=${busUrl}`,
        `http=${http}`,
        `shield=${shieldUrl}`,
        ...(telemetry === undefined ? [] : [`telemetry=${telemetry}`]),
      ].join(','),
    )
    const report = await runPreflight({ ...inputs, targets }, ports)
    const { verdict } = report.canonical
    if (options.json === true) {
      terminal.out(toPrintableJson({ version, verdict, ...addresses, data_dir: dataDir, token, digest: report.digest }))
    } else {
      terminal.out(formatText(report))
      for (const line of banner(addresses, dataDir, token)) terminal.out(line)
    }
    if (verdict !== 'GO') {
      terminal.note(`the running system did not prove itself: ${verdict}; it stays up, and ends with that exit code`)
      terminal.exitWith(exitCodeOf(report.canonical))
    }
    return running
  })
}

function banner(addresses: Readonly<Record<string, string>>, dataDir: string, token: string): readonly string[] {
  return [
    `ArqonBus ${version} is up. ^C stops it.`,
    '',
    ...Object.entries(addresses).map(([name, url]) => `  ${name.padEnd(10)} ${url}`),
    `  ${'data'.padEnd(10)} ${dataDir}`,
    '',
    'A token for Shield (tenant default, 12 hours):',
    `  ${token}`,
    '',
    'Try, in another terminal:',
    '  npx arqonbus tail --room lab',
    `  npx arqonbus publish --room lab --channel general '{"text":"hello"}'`,
  ]
}
