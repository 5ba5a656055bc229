// `npm test`: all suites but the soak, readable output as it happens, then one line of counts from the JSON report.
// Exits with 1 on a failed test, a broken file, an error outside tests, no passed test, or no report.
//   node scripts/run-tests.ts [--report <file>] [arguments for vitest]
//   node scripts/run-tests.ts --counts <file>      only print the counts line of an earlier report
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { countsLine, failureOf, readCounts } from './test-report.ts'

const projects = ['unit', 'regression', 'integration', 'adversarial', 'e2e', 'e2e-load']
const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)

/** This Node when it is new enough, else the pinned one. */
function chooseNode(): string {
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath
  return require.resolve(`node-${process.platform}-${process.arch}/bin/node`)
}

function runVitest(report: string, extra: readonly string[]): Promise<number> {
  const node = chooseNode()
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs')
  const args = [vitest, 'run', ...projects.flatMap((project) => ['--project', project])]
  args.push('--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...extra)
  // Tests that start programs find the same Node, whoever started this one; what is compiled for one serves the next.
  const compiled = join(root, 'node_modules/.cache/compiled')
  const path = `${dirname(node)}:${process.env['PATH'] ?? ''}`
  const env = { NODE_COMPILE_CACHE: compiled, ...process.env, PATH: path }
  const child = spawn(node, args, { cwd: root, stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => done(code ?? 1))
  })
}

const args = process.argv.slice(2)
/** Takes `--name value` out of `args`; what is left over is for vitest. */
function takeOption(name: string): string | undefined {
  const at = args.indexOf(`--${name}`)
  return at < 0 ? undefined : args.splice(at, 2)[1]
}
const countsOf = takeOption('counts')
const given = takeOption('report')

if (countsOf !== undefined) {
  console.log(countsLine(readCounts(countsOf)))
} else {
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-tests-'))
  const report = given === undefined ? join(folder, 'report.json') : resolve(given)
  rmSync(report, { force: true }) // an older report must not stand in for this run's
  try {
    const exitCode = await runVitest(report, args)
    const counts = readCounts(report)
    const failure = failureOf(counts, exitCode)
    if (failure !== undefined) console.error(`npm test: ${failure}`)
    console.log(countsLine(counts))
    process.exitCode = failure === undefined ? 0 : 1
  } catch (error) {
    console.error(`npm test: no result: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
