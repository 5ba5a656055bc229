// Schemas in a folder: written by the command line, seen without a restart, bounded, and served on when it is gone.
import { mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { setLimits } from '../../../src/schemas/descriptor-set.ts'
import { openFolderSource } from '../../../src/schemas/folder-source.ts'
import { type LiveRegistry, openLiveRegistry } from '../../../src/schemas/live-registry.ts'
import { runCommand } from '../../support/run-command.ts'
import { setOf, userCreated } from '../../unit/schemas/descriptors.ts'

let root: string
let folder: string
let live: LiveRegistry | undefined

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'arqonbus-folder-'))
  folder = await mkdtemp(join(root, 'schemas-'))
  await writeFile(join(root, 'user.binpb'), setOf([userCreated]))
})
afterEach(async () => {
  await live?.close()
  live = undefined
  await rm(root, { recursive: true, force: true })
})

const run = (...args: string[]) => runCommand(['schema', ...args, '--dir', folder], {})
const push = (id: string, ...rest: string[]) => run('push', join(root, 'user.binpb'), '--id', id, ...rest)
const open = async (): Promise<LiveRegistry> => {
  const source = openFolderSource(folder, { intervalMs: 20 })
  live = await openLiveRegistry({ source, isStrict: true, logger: silentLogger })
  return live
}

test('what is pushed or replaced is seen; a folder that is gone or bad leaves what serves', async () => {
  expect((await push('v1.users', '--event-type', 'user.created')).exitCode).toBe(0)
  const { map } = (await open()).current!
  expect(map.rules).toEqual([{ event_type: 'user.created', schema: 'v1.users' }])
  expect((await push('v2.users', '--command', 'op.create')).exitCode).toBe(0)
  await expect.poll(() => Object.keys(live!.current!.map.schemas)).toEqual(['v1.users', 'v2.users'])
  // The map of a file takes the place of the one there is, if all of it is good.
  await writeFile(
    join(root, 'map.json'),
    JSON.stringify({ schemas: { 'v9.users': { message: 'acme.v1.UserCreated' } } }),
  )
  expect(await run('map', join(root, 'map.json'))).toMatchObject({ exitCode: 78 })
  await writeFile(
    join(root, 'map.json'),
    JSON.stringify({ schemas: { 'v2.users': { message: 'acme.v1.UserCreated' } } }),
  )
  expect(await run('map', join(root, 'map.json'))).toMatchObject({ exitCode: 0 })
  await expect.poll(() => Object.keys(live!.current!.map.schemas)).toEqual(['v2.users'])

  const { digest } = live!.current!
  await writeFile(join(folder, 'v2.users.binpb'), 'no set')
  await expect.poll(() => live!.trouble).toMatch(/bad/)
  await rename(folder, `${folder}-away`)
  await expect.poll(() => live!.trouble).toMatch(/cannot be read/)
  expect(live!.current!.digest).toBe(digest)
  await rename(`${folder}-away`, folder)
  await writeFile(join(folder, 'v2.users.binpb'), setOf([userCreated]))
  await expect.poll(() => live!.trouble).toBeUndefined()
})

test('a file larger than a set may be is not read', async () => {
  await push('v1.users', '--event-type', 'x')
  await truncate(join(folder, 'v1.users.binpb'), setLimits.bytes + 1)
  await expect(open()).rejects.toMatchObject({ code: 'START_REFUSED', details: { reason: 'SCHEMA_HOSTILE' } })
})

test('the command says what is wrong with what it is given', async () => {
  expect(await run('push', join(root, 'absent'), '--id', 'v1.users')).toMatchObject({ exitCode: 64 })
  expect(await push('../users')).toMatchObject({ exitCode: 1, notes: [expect.stringContaining('BAD_SCHEMA_ID')] })
  expect(await push('v1.users', '--required', 'user_id')).toMatchObject({ exitCode: 64 })
  expect(await push('v1.users', '--message', 'acme.v1.Nobody')).toMatchObject({ exitCode: 78 })
  expect(await push('v1.users', '--subject', 'a..b')).toMatchObject({ exitCode: 78 })
  const bare = await runCommand(['schema', 'list'], {})
  expect(bare).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('no place'), expect.anything()] })
  const absent = await runCommand(['schema', 'list', '--dir', join(root, 'absent')], {})
  expect(absent.exitCode).toBe(78)
})
