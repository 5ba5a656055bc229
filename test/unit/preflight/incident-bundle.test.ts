// A bundle: the same bytes for the same content, whole or not there, and never with a known secret.
import { spawn } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { packFiles, prune, unpackFiles } from '../../../src/preflight/incident/archive.ts'
import { type BundleHead, makeBundle, verifyBundle, writeBundle } from '../../../src/preflight/incident/bundle.ts'
import { collectGit, runGit } from '../../../src/preflight/incident/collect.ts'
import { Collection } from '../../../src/preflight/incident/collection.ts'
import { openCommandSpool } from '../../../src/preflight/incident/commands.ts'
import { collectCommits } from '../../../src/preflight/incident/compare.ts'
import { collectCommands } from '../../../src/preflight/incident/contents.ts'
import { installationKey } from '../../../src/certificate/installation-key.ts'
import { judgeBundle, type Manifest } from '../../../src/preflight/incident/judge-bundle.ts'
import { createRedactor, type Redactor } from '../../../src/preflight/incident/redact.ts'
import { judgeArchive, type Standing } from '../../../src/preflight/incident/verify-bundle.ts'
import { signDigest } from '../../../src/preflight/replay/signature.ts'
import { keyTextOf } from '../../../src/waivers/sign.ts'

const root = mkdtempSync(join(tmpdir(), 'arqonbus-bundle-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const newFolder = (): string => {
  const folder = join(root, String(++folders))
  mkdirSync(folder)
  return folder
}

const secret = 'correct horse battery'
const redactor: Redactor = createRedactor([{ name: 'A_SECRET', value: secret, kind: 'secret' }], () =>
  Buffer.alloc(32, 1),
)
const none = createRedactor([], () => Buffer.alloc(32, 1))
const head: BundleHead = {
  runId: '0011223344556677',
  verdict: 'NO-GO',
  digest: 'sha256:0',
  commit: '4b1d2c7'.padEnd(40, '0'),
  label: 'high',
  classes: ['config'],
}
const key = { scope: 'installation' } as const

function collected(texts: Readonly<Record<string, string>>): Collection {
  const into = new Collection()
  for (const [path, text] of Object.entries(texts)) into.text(path, text)
  return into
}

const whole = {
  'ROUTE.json': '{}',
  'commands/000-preflight/argv.json': '[]',
  'env/snapshot.json': '{}',
  'env/provenance.json': '{}',
}
const bundleOf = (texts: Readonly<Record<string, string>>) =>
  makeBundle(collected({ ...whole, ...texts }), head, redactor, key)
const incompleteOf = (files: ReadonlyMap<string, Buffer>): unknown =>
  JSON.parse(files.get('INCOMPLETE.json')!.toString())

describe('an archive', () => {
  it('has the same bytes for the same content, in whichever order it was collected', async () => {
    const one = await packFiles(bundleOf({ a: '1', 'b/c': '2' }).files, 'x')
    const two = await packFiles(new Map([...bundleOf({ 'b/c': '2', a: '1' }).files].reverse()), 'x')
    expect(one.equals(two)).toBe(true)
    expect((await packFiles(bundleOf({ a: '1', 'b/c': '3' }).files, 'x')).equals(one)).toBe(false)
  })

  it('is readable for its owner alone, and comes back as it was', async () => {
    const folder = join(newFolder(), 'deep', 'incidents')
    const path = await writeBundle(bundleOf({ a: '1' }), folder, redactor, 0)
    expect(path).toBe(join(folder, 'preflight-incident-4b1d2c7-0011223344556677.tar.gz'))
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    const files = await unpackFiles(readFileSync(path))
    expect(files.get('a')?.toString()).toBe('1')
    expect((await verifyBundle(readFileSync(path))).files.map(({ path: name }) => name)).toEqual(
      [...files.keys()].filter((name) => name !== 'MANIFEST.json').sort(),
    )
  })

  it.each([
    ['a file that was changed', (files: Map<string, Buffer>) => files.set('a', Buffer.from('2')), 'a is not as'],
    ['a file beside', (files: Map<string, Buffer>) => files.set('b', Buffer.from('')), 'not those of'],
    ['a file that is gone', (files: Map<string, Buffer>) => files.delete('a'), 'not those of'],
    ['no manifest', (files: Map<string, Buffer>) => files.delete('MANIFEST.json'), 'no MANIFEST.json'],
  ])('is refused with %s', async (_name, change, why) => {
    const files = new Map(bundleOf({ a: '1' }).files)
    change(files)
    await expect(verifyBundle(await packFiles(files, 'x'))).rejects.toThrow(why)
  })

  it('is refused with two files of one path', async () => {
    const { files } = bundleOf({ a: '1' })
    const twice = new Map([...files, ['elsewhere/../a', Buffer.from('2')]])
    const archive = gunzipSync(await packFiles(twice, 'x'))
    // As a tar would hold it that was put together by hand: the name of the second entry, and the sum of its header.
    const at = archive.indexOf('x/elsewhere/../a')
    const header = archive.subarray(at, at + 512)
    header.fill(0, 0, 100).write('other/a')
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    await expect(verifyBundle(gzipSync(archive))).rejects.toThrow('a is in it twice')
  })

  it('is not made when a known secret is left in it', async () => {
    const folder = newFolder()
    const leaky = makeBundle(collected({ a: `${secret}!` }), head, none, key)
    await expect(writeBundle(leaky, folder, redactor, 0)).rejects.toThrow('a known secret is left')
    expect(readdirSync(folder)).toEqual([])
  })

  it('is one of the newest twenty; what was left half-written goes after an hour', () => {
    const folder = newFolder()
    const now = Date.parse('2026-01-01T00:00:00Z')
    const put = (name: string, ageS: number): void => {
      writeFileSync(join(folder, name), '')
      utimesSync(join(folder, name), now / 1_000 - ageS, now / 1_000 - ageS)
    }
    for (let index = 0; index < 25; index++) put(`preflight-incident-x-${String(index).padStart(2, '0')}.tar.gz`, index)
    put('.preflight-incident-x-90.tar.gz.aa.tmp', 7_200)
    put('.preflight-incident-x-91.tar.gz.aa.tmp', 60)
    put('notes.txt', 90_000)
    prune(folder, 20, now)
    const left = readdirSync(folder)
    expect(left.filter((name) => name.endsWith('.tar.gz'))).toHaveLength(20)
    expect(left).toContain('preflight-incident-x-00.tar.gz')
    expect(left).not.toContain('preflight-incident-x-20.tar.gz')
    expect(left.filter((name) => !name.endsWith('.tar.gz'))).toEqual([
      '.preflight-incident-x-91.tar.gz.aa.tmp',
      'notes.txt',
    ])
  })

  it('is not there when its writer is killed, and what is left of it goes with a later one', async () => {
    const folder = newFolder()
    const writer = fileURLToPath(new URL('../../support/bundle-writer.ts', import.meta.url))
    const child = spawn(process.execPath, [writer, folder], { stdio: 'inherit' })
    const signal = await new Promise((resolve) => child.on('close', (_code, name) => resolve(name)))
    expect(signal).toBe('SIGKILL')
    const left = readdirSync(folder).sort()
    expect(left).toEqual([
      expect.stringMatching(/^\.preflight-incident-second-2\.tar\.gz\.\w{8}\.tmp$/),
      'preflight-incident-first-1.tar.gz',
    ])
    prune(folder, 20, statSync(join(folder, left[0]!)).mtimeMs + 2 * 60 * 60 * 1_000)
    expect(readdirSync(folder)).toEqual(['preflight-incident-first-1.tar.gz'])
  })
})

describe('the contents of a bundle', () => {
  it('hold no known secret, and say what was taken out of which file', () => {
    const { files } = bundleOf({ 'report/report.txt': `it said ${secret}`, 'env/snapshot.json': `{"a":"${secret}"}` })
    expect(files.get('report/report.txt')?.toString()).toMatch(/^it said «secret:A_SECRET:\w{4}»$/)
    expect(JSON.parse(files.get('redaction/report.json')!.toString())).toMatchObject({
      swept: ['A_SECRET'],
      byFile: { 'report/report.txt': { exact: 1 }, 'env/snapshot.json': { exact: 1 } },
      canaryTakenOutOf: [],
      quarantined: [],
    })
    expect(incompleteOf(files)).toEqual([])
  })

  it('leave out a file that cannot be made clean, and name it', () => {
    const twice = Buffer.from(Buffer.from(`u:${secret}`).toString('base64')).toString('base64')
    const { files, findings } = bundleOf({ 'commands/001-x/stdout.txt': twice, 'report/report.txt': 'fine' })
    expect([...files.keys()]).not.toContain('commands/001-x/stdout.txt')
    expect(files.has('report/report.txt')).toBe(true)
    expect(incompleteOf(files)).toEqual([
      { path: 'commands/001-x/stdout.txt', why: 'quarantined: A_SECRET could not be taken out of it' },
      expect.objectContaining({ finding: 'incident.command', severity: 'high', code: 'NOT_COMPLETE' }),
    ])
    expect(findings).toHaveLength(1)
    expect(JSON.parse(files.get('redaction/report.json')!.toString())).toMatchObject({
      quarantined: ['commands/001-x/stdout.txt'],
    })
  })

  it('leave out a file whose very name is secret, without naming it', () => {
    const { files, missing } = bundleOf({ [`waivers/${secret}`]: 'x' })
    expect(missing.map(({ path }) => path)).toEqual(['a file'])
    for (const bytes of files.values()) expect(bytes.includes(secret)).toBe(false)
  })

  it('leave out JSON that is none without its secrets', () => {
    const numeric = createRedactor([{ name: 'PIN_SECRET', value: '123456', kind: 'secret' }], () => Buffer.alloc(32))
    const { missing, files } = makeBundle(collected({ ...whole, 'probes/a.json': '{"n":123456}' }), head, numeric, key)
    expect(missing).toEqual([{ path: 'probes/a.json', why: expect.stringContaining('no JSON any more') }])
    expect(files.has('probes/a.json')).toBe(false)
  })

  it('name what is missing instead of an empty file', () => {
    const into = collected({ ...whole, 'git/status': '' })
    into.try('host/limits', () => readFileSync(join(root, 'no such file'), 'utf8'))
    const { files } = makeBundle(into, head, redactor, key)
    expect(incompleteOf(files)).toEqual([
      { path: 'git/status', why: 'it is empty' },
      { path: 'host/limits', why: 'ENOENT' },
    ])
    for (const bytes of files.values()) expect(bytes.length).toBeGreaterThan(0)
  })
})

describe('the signature of a bundle', () => {
  const [ours, theirs] = [generateKeyPairSync('ed25519').privateKey, generateKeyPairSync('ed25519').privateKey]
  const signedWith = (with_: KeyObject) => makeBundle(collected({ ...whole, a: '1' }), head, redactor, key, with_)
  const standing = async (files: ReadonlyMap<string, Buffer>, publicKey: string | undefined = keyTextOf(ours)) =>
    (await judgeArchive(await packFiles(files, 'x'), publicKey)).code
  const changed = (change: (manifest: Manifest) => object): Map<string, Buffer> => {
    const { files, manifest } = signedWith(ours)
    return new Map(files).set('MANIFEST.json', Buffer.from(JSON.stringify(change(manifest))))
  }

  it('holds under the key of whoever made it, and gives equal bytes', async () => {
    expect(await standing(signedWith(ours).files)).toBe('VERIFIED')
    const [one, two] = [await packFiles(signedWith(ours).files, 'x'), await packFiles(signedWith(ours).files, 'x')]
    expect(one.equals(two)).toBe(true)
  })

  it('is not there where nobody signed', async () => {
    const { files, manifest } = bundleOf({ a: '1' })
    expect(Object.keys(manifest)).not.toContain('signature')
    expect(await standing(files)).toBe('UNSIGNED')
  })

  it.each<[string, Standing['code'], () => ReadonlyMap<string, Buffer>]>([
    ['a file that was changed', 'NOT_WHOLE', () => new Map(signedWith(ours).files).set('a', Buffer.from('2'))],
    ['another verdict', 'NOT_WHOLE', () => changed((manifest) => ({ ...manifest, verdict: 'GO' }))],
    ['another field beside', 'NOT_WHOLE', () => changed((manifest) => ({ ...manifest, more: true }))],
    [
      'the signature of another bundle',
      'NOT_WHOLE',
      () => changed((manifest) => ({ ...manifest, signature: signDigest({ ...manifest, runId: '' }, ours).signature })),
    ],
    [
      'our name over their signature',
      'NOT_WHOLE',
      () => {
        const { sig } = signedWith(theirs).manifest.signature!
        return changed((manifest) => ({ ...manifest, signature: { key: keyTextOf(ours), sig } }))
      },
    ],
    ['all of it made anew by somebody else', 'OTHER_KEY', () => signedWith(theirs).files],
    ['a signature that is none', 'NOT_WHOLE', () => changed((manifest) => ({ ...manifest, signature: {} }))],
    ['a signature that is nothing', 'NOT_WHOLE', () => changed((manifest) => ({ ...manifest, signature: null }))],
    ['its signature taken away', 'UNSIGNED', () => changed((manifest) => ({ ...manifest, signature: undefined }))],
    ['a manifest that is none', 'NOT_WHOLE', () => changed(() => ({}))],
  ])('does not stand with %s', async (_name, code, make) => {
    expect(await standing(make())).toBe(code)
  })

  it('proves nothing without a key from elsewhere, and nothing of what is no bundle', async () => {
    const archive = await packFiles(signedWith(ours).files, 'x')
    expect((await judgeArchive(archive, undefined)).code).toBe('NO_KEY')
    expect((await judgeArchive(Buffer.from('nonsense'), keyTextOf(ours))).code).toBe('NOT_WHOLE')
  })
})

describe('a bundle is judged', () => {
  const manifest: Manifest = {
    schema: 'arqonbus/preflight-incident/1.0',
    ...head,
    files: Object.keys(whole).map((path) => ({ path, size: 1, sha256: '', redacted: {} })),
  }
  const { commit: _commit, ...uncommitted } = manifest
  const { label: _label, ...unlabelled } = manifest
  const without = (path: string): Manifest => ({
    ...manifest,
    files: manifest.files.filter((file) => file.path !== path),
  })

  it.each([
    ['nothing is missing', manifest, [], []],
    ['a file nobody asks for', manifest, [{ path: 'host/cgroup', why: 'ENOENT' }], []],
    ['no commit', uncommitted, [{ path: 'git/commit', why: 'ENOENT' }], ['incident.commit NO_COMMIT']],
    ['no command line', without('commands/000-preflight/argv.json'), [], ['incident.command NO_COMMAND']],
    ['cut output', manifest, [{ path: 'commands/001-x/stdout.txt', why: 'cut' }], ['incident.command NOT_COMPLETE']],
    ['a probe left out', manifest, [{ path: 'probes/x.json', why: 'quarantined' }], ['incident.command NOT_COMPLETE']],
    ['no environment', without('env/snapshot.json'), [], ['incident.env NO_SNAPSHOT']],
    ['no sources', without('env/provenance.json'), [], ['incident.env NO_SNAPSHOT']],
    ['a cause of no class', { ...manifest, classes: ['config', 'unknown'] }, [], ['incident.class UNKNOWN_CLASS']],
    ['no label', unlabelled, [], ['incident.route NO_LABEL']],
    ['no ticket', without('ROUTE.json'), [], ['incident.route NO_LABEL']],
    ['no label where nothing failed', { ...unlabelled, verdict: 'INCONCLUSIVE' }, [], []],
  ])('%s', (_name, judged, missing, expected) => {
    const findings = judgeBundle(judged, missing)
    expect(findings.map(({ id, code }) => `${id} ${code}`)).toEqual(expected)
    expect(findings.every(({ severity }) => severity === 'high')).toBe(true)
  })
})

describe('commands', () => {
  it('are kept with everything they wrote, how they ended, and where', async () => {
    const spool = openCommandSpool(systemClock)
    const script = 'process.stdout.write("o".repeat(3_000_000)); process.stderr.write("said why"); process.exitCode = 3'
    const argv = [process.execPath, '-e', script]
    const end = await spool.run({ id: 'loud', argv, cwd: root }, { env: {}, deadlineMs: 30_000 })
    expect(end).toMatchObject({ exit: 3, signal: null })
    expect(end.stdout.length).toBe(3_000_000)
    const late = await spool.run(
      { id: 'late', argv: [process.execPath, '-e', 'setInterval(() => {}, 1e6)'], cwd: root },
      { env: {}, deadlineMs: 300 },
    )
    expect(late).toMatchObject({ exit: null, signal: 'SIGKILL', isLate: true })
    const absent = await spool.run({ id: 'absent', argv: ['no-such-program'], cwd: root }, { env: {}, deadlineMs: 300 })
    expect(absent).toMatchObject({ exit: null, failure: 'ENOENT' })
    const own = spool.begin({ id: 'own', argv: ['a', 'b'], cwd: root })
    own.write('stdout', 'one ')
    own.write('stdout', Buffer.from('two'))

    const into = new Collection()
    collectCommands(into, spool, 1_000_000)
    spool.close()
    const json = (path: string): unknown => JSON.parse(into.files.get(path)!.toString())
    expect(json('commands/000-loud/argv.json')).toEqual(argv)
    expect(into.files.get('commands/000-loud/cwd')?.toString()).toBe(`${root}\n`)
    expect(json('commands/000-loud/exit.json')).toMatchObject({ exit: 3, stdoutBytes: 3_000_000, stderrBytes: 8 })
    expect(into.files.get('commands/000-loud/stderr.txt')?.toString()).toBe('said why')
    expect(into.files.get('commands/000-loud/stdout.txt')?.toString()).toMatch(
      /o\n\[cut after 1000000 of 3000000 bytes\]\n$/,
    )
    expect(into.missing).toEqual([{ path: 'commands/000-loud/stdout.txt', why: 'cut after 1000000 of 3000000 bytes' }])
    expect(json('commands/001-late/exit.json')).toMatchObject({ endedAtDeadline: true, stdoutBytes: 0 })
    expect(into.files.has('commands/001-late/stdout.txt')).toBe(false)
    expect(json('commands/002-absent/exit.json')).toMatchObject({ failure: 'ENOENT' })
    expect(json('commands/003-own/exit.json')).toMatchObject({ state: 'still running' })
    expect(into.files.get('commands/003-own/stdout.txt')?.toString()).toBe('one two')
  })
})

describe('the commit', () => {
  const env = { PATH: process.env['PATH'] ?? '', HOME: root }

  it('is that of a checkout, with what differs from it', async () => {
    const repository = newFolder()
    const spool = openCommandSpool(systemClock)
    const git = (...args: string[]) =>
      spool.run({ id: 'git', argv: ['git', ...args], cwd: repository }, { env, deadlineMs: 10_000 })
    await git('init', '-q')
    writeFileSync(join(repository, 'a'), 'one\n')
    await git('add', 'a')
    await git('-c', 'user.name=n', '-c', 'user.email=e@example.org', 'commit', '-qm', 'first')
    writeFileSync(join(repository, 'a'), 'two\n')
    const into = new Collection()
    const { commit } = await collectGit(into, spool, env, repository)
    spool.close()
    expect(commit).toMatch(/^[0-9a-f]{40}$/)
    expect(into.files.get('git/commit')?.toString()).toBe(`${commit}\n`)
    expect(into.files.get('git/status')?.toString()).toContain(' M a')
    expect(into.files.get('git/diffstat')?.toString()).toContain('a | 2 +-')
    expect(into.missing).toEqual([])
  })

  it('is told with all that came since the last green run', async () => {
    const repository = newFolder()
    const spool = openCommandSpool(systemClock)
    const place = { spool, env, root: repository }
    const who = ['-c', 'user.name=n', '-c', 'user.email=e@example.org', '-c', 'commit.gpgsign=false']
    await runGit(['init', '-q'], place)
    const commits: string[] = []
    for (const subject of ['green', 'the fault', 'and more']) {
      await runGit([...who, 'commit', '-q', '--allow-empty', '-m', subject], place)
      commits.push((await runGit(['rev-parse', 'HEAD'], place)).trim())
    }
    const told = async (before?: string, after?: string): Promise<Collection> => {
      const into = new Collection()
      await collectCommits(into, { versions: { commit: { before: before!, after: after! } } }, place)
      return into
    }
    const textOf = ({ files }: Collection) => files.get('compare/commits.txt')?.toString()
    expect(textOf(await told(commits[0], commits[2]))).toMatch(
      new RegExp(`^${commits[2]} \\S+ and more\n${commits[1]} \\S+ the fault\n$`),
    )
    expect(textOf(await told(commits[2], commits[0]))).toContain('it went back')
    expect((await told('a'.repeat(40), commits[2])).missing).toEqual([
      { path: 'compare/commits.txt', why: expect.stringContaining('git log ended') },
    ])
    expect((await told(undefined, commits[2])).files.size).toBe(0)
    expect((await told('--output=x', commits[2])).files.size).toBe(0)
    spool.close()
  })

  it('is that of the build where there is no checkout, and missing where there is neither', async () => {
    const installed = newFolder()
    const spool = openCommandSpool(systemClock)
    const bare = new Collection()
    expect(await collectGit(bare, spool, env, installed)).toEqual({})
    expect(bare.missing).toEqual([{ path: 'git/commit', why: expect.stringContaining('no build-info.json') }])
    writeFileSync(join(installed, 'build-info.json'), JSON.stringify({ commit: 'ab'.repeat(20) }))
    const built = new Collection()
    expect(await collectGit(built, spool, env, installed)).toEqual({ commit: 'ab'.repeat(20) })
    expect(built.missing).toEqual([])
    spool.close()
  })
})

describe('the key of fingerprints', () => {
  it('is made once for an installation, for its owner alone', () => {
    const folder = newFolder()
    const first = installationKey(folder)
    expect(first.scope).toBe('installation')
    expect(statSync(join(folder, 'preflight.key')).mode & 0o777).toBe(0o600)
    expect(installationKey(folder).key.equals(first.key)).toBe(true)
  })

  it('is of the run where there is no folder, or no key that only we can read', () => {
    const absent = join(root, 'not there')
    expect(installationKey(absent)).toMatchObject({ scope: 'run', because: 'there is no data folder' })
    expect(installationKey(absent).key.equals(installationKey(absent).key)).toBe(false)
    const open = newFolder()
    writeFileSync(join(open, 'preflight.key'), 'ab'.repeat(32), { mode: 0o644 })
    expect(installationKey(open)).toMatchObject({
      scope: 'run',
      because: expect.stringContaining('readable for others'),
    })
    const broken = newFolder()
    writeFileSync(join(broken, 'preflight.key'), 'nonsense', { mode: 0o600 })
    expect(installationKey(broken)).toMatchObject({ scope: 'run', because: expect.stringContaining('no key') })
  })
})
