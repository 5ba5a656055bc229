// Plug-ins as a site has them: files, listed by digest, run as everything else is. Good ones, and each way to be bad.
import { spawnSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { loadPlugins } from '../../../src/preflight/plugins/load.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import type { CheckPorts } from '../../../src/preflight/check.ts'
import { PluginFolder, PluginHost, sha256Of, youngLine } from '../../support/plugins.ts'
import { wordOf } from '../../support/preflight-run.ts'
import { runCommand } from '../../support/run-command.ts'

const host = new PluginHost()
afterAll(async () => await host.end())

let folder: PluginFolder
beforeEach(() => {
  folder = new PluginFolder()
})
afterEach(() => folder.remove())

const staging = { ARQONBUS_ENVIRONMENT: 'staging' }
const secret = 'correct-horse-battery-staple-4711'

/** As `arqonbus preflight run --policy`, with plain Node. */
const run = async (only: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  await host.run({ env: { ...staging, ...env }, only, policyPath: folder.policy() })

const refusal = async (): Promise<string> => {
  const { canonical, observations } = await run(['x'])
  expect(canonical).toMatchObject({ verdict: 'INCONCLUSIVE', fault: { kind: 'input', code: 'PLUGIN_INVALID' } })
  return observations.fault ?? ''
}

async function ledgerServer(greeting: string): Promise<{ address: string; server: Server }> {
  const server = createServer((socket) => socket.end(greeting))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

const ledgerModule = {
  fields: {
    class: 'dependency',
    variables: ['LEDGER_ADDRESS'],
    effects: [{ kind: 'net', what: 'the ledger' }],
    shape: { greeting: 'string' },
    worlds: {
      passes: [{ name: 'three', facts: { greeting: 'LEDGER 3' } }],
      fails: [{ name: 'two', facts: { greeting: 'LEDGER 2' }, expect: { code: 'OLD_LEDGER' } }],
      ignores: [{ name: 'forty', facts: { greeting: 'LEDGER 40' } }],
    },
  },
  top: "import { connect } from 'node:net'",
  probe: `async ({ variables }: any, signal: AbortSignal) => {
    const [host, port] = variables.LEDGER_ADDRESS.split(':')
    for await (const chunk of connect({ host, port: Number(port), signal })) return { greeting: String(chunk) }
    throw new ProbeStop('HUNG_UP', 'no greeting')
  }`,
  judge: `({ greeting }: any) => Number(greeting.split(' ')[1]) >= 3
    ? passed(greeting, { version: greeting.split(' ')[1] })
    : failed('OLD_LEDGER', 'LEDGER_ADDRESS', greeting, 'renew the ledger')`,
}

describe('a module', () => {
  it('passes, fails and stops by what its probe finds at a real server', async () => {
    folder.module('ledger', ledgerModule)
    const good = await ledgerServer('LEDGER 3')
    const old = await ledgerServer('LEDGER 2')
    const id = 'x.acme.ledger'
    try {
      const report = await run([id, 'meta.catalogue-complete'], { LEDGER_ADDRESS: good.address })
      expect(wordOf(report, id)).toBe('pass')
      expect(wordOf(report, 'meta.catalogue-complete')).toBe('pass')
      expect(report.observations.results['meta.catalogue-complete']?.observed).toContain('1 plug-ins')
      expect(report.canonical.results.find((result) => result.id === id)).toMatchObject({ facts: { version: '3' } })
      expect(wordOf(await run([id], { LEDGER_ADDRESS: old.address }), id)).toBe('fail OLD_LEDGER dependency')
    } finally {
      good.server.close()
      old.server.close()
    }
  })

  it('that throws, hangs, ends its process, tells a secret or misjudges is an error alone: others go on', async () => {
    folder.module('leaks', {
      fields: { variables: ['LEDGER_TOKEN'] },
      probe:
        "async ({ variables }: any) => ({ young: true, note: Buffer.from('a' + variables.LEDGER_TOKEN).toString('base64') })",
    })
    folder.module('odd', {
      probe: "async () => ({ young: true, note: 'odd' })",
      judge: `({ young, note }: any) => note === 'odd' ? { status: 'splendid' } : young ? passed() : failed('OLD', 'LEDGER', 'old', 'renew it')`,
    })
    folder.module('throws', { probe: "async () => { throw new TypeError('broken') }" })
    folder.module('ends', { probe: 'async () => process.exit(0)' })
    folder.module('hangs', { fields: { deadlineMs: 400 }, probe: 'async () => { for (;;); }' })
    folder.module('misfits', { probe: "async () => ({ young: 'yes' })" })
    folder.module('good')
    // Two at a time: a busy machine does not start six processes within the time that one may take.
    const env = { ...staging, LEDGER_TOKEN: secret }
    const report = await host.run({ env, only: ['x'], policyPath: folder.policy(), jobs: 2 })
    expect(wordOf(report, 'x.acme.throws')).toBe('error THREW unknown')
    expect(wordOf(report, 'x.acme.ends')).toBe('error PROBE_DIED unknown')
    expect(wordOf(report, 'x.acme.hangs')).toBe('error DEADLINE dependency')
    expect(wordOf(report, 'x.acme.misfits')).toBe('error BAD_FACTS unknown')
    expect(wordOf(report, 'x.acme.good')).toBe('pass')
    expect(report.canonical.verdict).toBe('NO-GO')
    expect(wordOf(report, 'x.acme.odd')).toBe('error NO_ANSWER dependency')
    expect(wordOf(report, 'x.acme.leaks')).toBe('error PLUGIN_LEAK regression')
    expect(report.observations.results['x.acme.leaks']?.observed).toContain('LEDGER_TOKEN')
    const text = JSON.stringify(report)
    expect(text).not.toContain(secret)
    expect(text).not.toContain(Buffer.from(`a${secret}`).toString('base64'))
  })

  it('comes out the same however plug-ins are listed', async () => {
    folder.program('b')
    folder.program('a')
    folder.program('c')
    const reports: Report[] = []
    for (const order of ['as-listed', 'reversed', 'as-listed'] as const) {
      reports.push(await runPreflight({ env: staging, only: ['x'], policyPath: folder.policy(order) }))
    }
    const [first, second, third] = reports.map(({ canonical }) => canonical)
    expect(first?.planned).toEqual(second?.planned)
    expect(first?.catalogue).toBe(second?.catalogue)
    expect(first?.results).toEqual(second?.results)
    expect(reports[2]?.digest).toBe(reports[0]?.digest)
    expect(third?.counts.pass).toBe(3)
    // Who wrote the policy decided on the order; its digest says so.
    expect(first?.policy).not.toBe(second?.policy)
  })
})

describe('a run is refused for a plug-in', () => {
  const judgeAlwaysPasses = '() => passed()'
  const good = { passes: [{ name: 'p', facts: { young: true } }], ignores: [{ name: 'i', facts: { young: true } }] }

  it.each<[string, Parameters<PluginFolder['module']>[1], string]>([
    ['without worlds', { fields: { worlds: undefined } }, 'worlds is missing'],
    ['without a world in which it fails', { fields: { worlds: { ...good, fails: [] } } }, 'no world in which it fails'],
    ['whose judge always passes', { judge: judgeAlwaysPasses }, 'old: pass instead of fail OLD'],
    [
      'whose judge passes without facts',
      { fields: { shape: { young: 'boolean?', note: 'string?' } } },
      'with no facts',
    ],
    ['with an id of ours', { fields: { id: 'dep.valkey.ledger' } }, 'id is not x.<org>.<name>'],
    ['with an id that has no organisation', { fields: { id: 'x.ledger' } }, 'id is not x.<org>.<name>'],
    ['that is a blocker', { fields: { severity: 'blocker' } }, 'severity is not critical, high or advisory'],
    ['that claims a line of the runbook', { fields: { runbook: ['L22'] } }, 'runbook is no field of a check'],
    ['that claims to be a roll-up', { fields: { isRollUp: true } }, 'isRollUp is no field of a check'],
    ['with a title that steers terminals', { fields: { title: 'a\u001b[2J' } }, 'title is not a text'],
    ['that requires what is not there', { fields: { requires: ['dep.no-such'] } }, 'requires dep.no-such'],
    ['that requires a later phase', { fields: { requires: ['live.bus-health'] } }, 'requires a check of a later phase'],
    ['that requires itself', { fields: { requires: ['x.acme.bad'] } }, 'requirements in a circle'],
    [
      'that imports its neighbour',
      { top: "import './neighbour.ts'" },
      'imports ./neighbour.ts, which no digest covers',
    ],
    ['that imports a package', { top: "import 'pg'" }, 'imports pg, which no digest covers'],
    ['that does not parse', { top: 'const = 1' }, 'does not load'],
    ['that throws as it loads', { top: "throw new Error('not today')" }, 'not today'],
    ['without a probe', { probe: 'undefined' }, 'probe is no function'],
    ['whose judge throws', { judge: "() => { throw new Error('no') }" }, 'error THREW'],
  ])('%s', async (_, parts, words) => {
    folder.module('bad', parts)
    const fault = await refusal()
    expect(fault).toContain('bad.ts')
    expect(fault).toContain(words)
  })

  it('of another digest than the one that is listed, or that is not there', async () => {
    const path = folder.module('changed')
    const policyPath = folder.policy()
    const listed = sha256Of(path)
    appendFileSync(path, '// and more\n')
    const changed = await host.run({ env: staging, only: ['x'], policyPath })
    expect(changed.observations.fault).toContain(`its digest is ${sha256Of(path)}, and the policy lists ${listed}`)
    rmSync(path)
    const gone = await host.run({ env: staging, only: ['x'], policyPath })
    expect(gone.canonical.fault).toEqual({ kind: 'input', code: 'PLUGIN_INVALID' })
    expect(gone.observations.fault).toContain('ENOENT')
  })

  it('that is never done loading', async () => {
    folder.module('bad', { top: 'await new Promise<void>((resolve) => setTimeout(resolve, 60_000))' })
    expect(await refusal()).toContain('did not load within')
  })

  it('with the id of another', async () => {
    folder.module('one', { fields: { id: 'x.acme.same' } })
    folder.program('two', { fields: { id: 'x.acme.same' } })
    expect(await refusal()).toContain('x.acme.same is a check of one.ts already')
  })

  it('that ends the process as it loads: never with the code of a GO', () => {
    folder.module('ends', { top: 'process.exit(0)' })
    const bin = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [bin, 'preflight', 'run', '--policy', folder.policy(), '--bundle', 'never'],
      { env: { ...staging }, encoding: 'utf8', cwd: folder.path },
    )
    expect(status).toBe(65)
    expect(stdout).toBe('')
    expect(stderr).toContain('ends.ts ended the process')
  })

  it.each<[string, (path: string) => void, Parameters<PluginFolder['program']>[1], string]>([
    ['that cannot be executed', (path) => chmodSync(path, 0o644), {}, 'EACCES'],
    ['whose judge always passes', () => undefined, { judge: `echo '{"type":"result","status":"pass"}'` }, 'old: pass'],
    ['whose judge says nothing', () => undefined, { judge: 'true' }, 'error PLUGIN_SILENT'],
    ['whose judge gives no result', () => undefined, { judge: `echo '{"type":"result"}'` }, 'error PLUGIN_OUTPUT'],
    ['that is a blocker', () => undefined, { fields: { severity: 'blocker' } }, 'severity is not'],
  ])('a program %s', async (_, spoil, parts, words) => {
    spoil(folder.program('bad', parts))
    expect(await refusal()).toContain(words)
  })

  it('a program that describes itself in two lines', async () => {
    folder.add('arqon-check-two', `#!/bin/sh\necho '{}'\necho '{}'\n`)
    expect(await refusal()).toContain('PLUGIN_ANSWERS')
  })
})

describe('a program', () => {
  const fate = async (name: string, parts: Parameters<PluginFolder['program']>[1], env = {}): Promise<string> => {
    folder.program(name, parts)
    const report = await runPreflight({ env: { ...staging, ...env }, only: ['x'], policyPath: folder.policy() })
    expect(report.observations.fault).toBeUndefined()
    expect(JSON.stringify(report)).not.toContain(secret)
    return wordOf(report, `x.acme.${name}`)
  }

  it.each([
    ['passes', `echo '${youngLine}'`, 'pass'],
    ['fails', `echo '{"type":"facts","facts":{"young":false}}'`, 'fail OLD dependency'],
    ['stops', `echo '{"type":"stop","code":"ENOENT","observed":"no ledger"}'`, 'fail ENOENT dependency'],
    ['chatters', `echo hello; echo '${youngLine}'`, 'error PLUGIN_OUTPUT regression'],
    ['repeats', `echo '${youngLine}'; echo '${youngLine}'`, 'error PLUGIN_ANSWERS regression'],
    ['contradicts', `echo '${youngLine}'; exit 1`, 'error PLUGIN_EXIT regression'],
    ['crashes', 'kill -SEGV $$', 'error PLUGIN_EXIT regression'],
    ['shrugs', 'true', 'error PLUGIN_SILENT regression'],
    ['shouts', 'head -c 1100000 /dev/zero; sleep 60', 'error PLUGIN_TOO_LOUD regression'],
    ['invents', `echo '{"type":"verdict","verdict":"GO"}'`, 'error PLUGIN_OUTPUT regression'],
    ['lists', `echo '[${youngLine}]'`, 'error PLUGIN_OUTPUT regression'],
    ['misfits', `echo '{"type":"facts","facts":{"young":1}}'`, 'error BAD_FACTS unknown'],
  ])('that %s', async (name, command, word) => {
    expect(await fate(name, { run: command })).toBe(word)
  })

  it('that prints a secret it was given has no answer', async () => {
    const parts = { fields: { variables: ['LEDGER_TOKEN'] }, run: leakCommand }
    expect(await fate('leaks', parts, { LEDGER_TOKEN: secret })).toBe('error PLUGIN_LEAK regression')
  })

  it('that hangs is killed at its deadline with all it started, and others go on', async () => {
    const mark = join(folder.path, 'child')
    folder.program('good')
    const parts = { fields: { deadlineMs: 500 }, run: `sleep 300 & echo $! > ${mark}; wait` }
    expect(await fate('hangs', parts)).toBe('error DEADLINE dependency')
    const child = Number(readFileSync(mark, 'utf8'))
    await expect.poll(() => isRunning(child)).toBe(false)
    const report = await runPreflight({ env: staging, only: ['x'], policyPath: folder.policy() })
    expect(wordOf(report, 'x.acme.good')).toBe('pass')
  })

  it('whose judge hangs on what was found is an error', async () => {
    const judge = `read line; case "$line" in *slow*) sleep 60;; *true*) echo '{"type":"result","status":"pass"}';; *) echo '{"type":"result","status":"fail","findings":[{"code":"OLD","variable":"L","found":"","fix":"renew"}]}';; esac`
    const command = `echo '{"type":"facts","facts":{"young":true,"note":"slow"}}'`
    expect(await fate('slow', { judge, run: command })).toBe('error PLUGIN_LATE regression')
  })

  it('is given the variables that it names, and nothing else of ours', async () => {
    const mark = join(folder.path, 'seen')
    const parts = {
      fields: { variables: ['LEDGER_A', 'LEDGER_UNSET'] },
      run: `(cat; env) > ${mark}; echo '${youngLine}'`,
    }
    expect(await fate('asks', parts, { LEDGER_A: 'one', LEDGER_B: 'two', JWT_SECRET: secret })).toBe('pass')
    const [line = '', ...environment] = readFileSync(mark, 'utf8').trim().split('\n')
    expect(JSON.parse(line)).toEqual({ env: { LEDGER_A: 'one' }, runId: expect.any(String), deadlineMs: 3_000 })
    const names = environment.map((entry) => entry.replace(/=.*$/s, ''))
    expect(names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)).sort()).toEqual([
      'LC_ALL',
      'PATH',
      'TZ',
    ])
  })

  it('that was changed since the run began is not run', async () => {
    const path = folder.program('swapped', { run: `touch ${join(folder.path, 'ran')}` })
    const { checks } = await loadPlugins([{ path, sha256: sha256Of(path), kind: 'program' }], {
      builtIn: createCatalogue(),
    })
    appendFileSync(path, '# changed\n')
    const ports = { ...portsOfWorld({ name: 'any' }), runId: 'r1' } as CheckPorts
    await expect(checks[0]?.probe?.(ports, new AbortController().signal)).rejects.toMatchObject({
      stopped: { code: 'PLUGIN_CHANGED' },
    })
    expect(existsSync(join(folder.path, 'ran'))).toBe(false)
  })

  it('that nobody listed is noted and not run', async () => {
    folder.program('known')
    folder.program('stray', { run: `touch ${join(folder.path, 'ran')}` }, { isListed: false })
    folder.add('arqon-check-', '#!/bin/sh\n', { isListed: false }) // no name
    const searchPath = `/no/such/folder:${folder.path}:${folder.path}`
    const report = await runPreflight({ env: staging, only: ['x'], policyPath: folder.policy(), searchPath })
    expect(report.observations.plugins).toEqual([
      {
        plugin: 'arqon-check-stray',
        code: 'NOT_LISTED',
        text: `is not listed in the policy and was not run (${join(folder.path, 'arqon-check-stray')})`,
      },
    ])
    expect(wordOf(report, 'x.acme.known')).toBe('pass')
    expect(report.canonical.planned.filter((id) => id.startsWith('x.'))).toEqual(['x.acme.known'])
    expect(existsSync(join(folder.path, 'ran'))).toBe(false)
  })
})

describe('the commands', () => {
  it('prove a plug-in, print its entry, and show it in list, plan and explain', async () => {
    const path = folder.program('known', { fields: { variables: ['LEDGER_A'] } })
    const proof = await runCommand(['preflight', 'plugin', 'check', path], staging)
    expect(proof.exitCode).toBe(0)
    expect(proof.out).toContain('                fails in old: OLD')
    expect(proof.out.at(-1)).toBe(`  - { path: ${JSON.stringify(path)}, sha256: ${sha256Of(path)}, kind: program }`)

    const policy = folder.policy()
    const list = await runCommand(['preflight', 'list', '--policy', policy], staging)
    expect(list.out.join('\n')).toContain(
      `deps   high     x.acme.known  The ledger is young\n                program arqon-check-known  sha256:${sha256Of(path)}`,
    )
    const plan = await runCommand(['preflight', 'plan', '--only', 'x', '--policy', policy], staging)
    expect(plan.out.join('\n')).toContain('spawn arqon-check-known\n                env is given LEDGER_A')
    const explained = await runCommand(['preflight', 'explain', 'x.acme.known', '--policy', policy], staging)
    expect(explained.out.join('\n')).toContain('old: OLD')
  })

  it('take the examples of the documentation, whose digests are those that stand there', async () => {
    const text = readFileSync(new URL('../../../docs/preflight-plugins.md', import.meta.url), 'utf8')
    const example = (language: string): string => new RegExp(`\`\`\`${language}\n([^]*?)\`\`\`\n`).exec(text)?.[1] ?? ''
    const files = [folder.add('ledger.ts', example('ts')), folder.add('arqon-check-ledger', example('sh'))]
    for (const path of files) expect(text).toContain(`sha256: ${sha256Of(path)}`)
    const { address, server } = await ledgerServer('LEDGER 3\n')
    try {
      const report = await run(['x'], { LEDGER_ADDRESS: address, LEDGER_BACKUPS: folder.path })
      expect(wordOf(report, 'x.acme.ledger-answers')).toBe('pass')
      expect(wordOf(report, 'x.acme.ledger-backup')).toBe('fail NO_BACKUP dependency')
    } finally {
      server.close()
    }
  })

  it('refuse a bad one with the code of a wrong input', async () => {
    const path = folder.program('bad', { judge: 'true' })
    const { exitCode, notes } = await runCommand(['preflight', 'plugin', 'check', path], staging)
    expect(exitCode).toBe(65)
    expect(notes.join('\n')).toContain('x.acme.bad is unproven')
    const missing = await runCommand(['preflight', 'plugin', 'check', join(folder.path, 'none.ts')], staging)
    expect(missing.exitCode).toBe(65)
  })
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A zombie that nobody has waited for yet does not run.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Prints the value it was given inside its facts. */
const leakCommand = `token=$(sed 's/.*"LEDGER_TOKEN":"\\([^"]*\\)".*/\\1/'); echo "{\\"type\\":\\"facts\\",\\"facts\\":{\\"young\\":true,\\"note\\":\\"$token\\"}}"`
