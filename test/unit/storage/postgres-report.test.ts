import { expect, it } from 'vitest'
import {
  int4Array,
  int8Array,
  readHexes,
  readIntegers,
  textArray,
} from '../../../src/storage/postgres/binary-arrays.ts'
import { faultsOf, levelOf } from '../../../src/storage/postgres/server-state.ts'

const good = {
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  synchronous_standby_names: '',
  default_transaction_read_only: 'off',
  isInRecovery: false,
}
const standbys = { ...good, synchronous_standby_names: 'FIRST 1 (a)' }

it.each([
  [good, 'disk', []],
  [{ ...good, synchronous_commit: 'local' }, 'disk', []],
  [{ ...good, synchronous_commit: 'remote_apply' }, 'disk', []],
  [standbys, 'replica', []],
  [{ ...standbys, synchronous_commit: 'remote_write' }, 'replica', []],
  [{ ...standbys, synchronous_commit: 'local' }, 'disk', []],
  [{ ...good, fsync: 'off' }, 'process', ['NOT_PERSISTED']],
  [{ ...standbys, full_page_writes: 'off' }, 'process', ['NOT_PERSISTED']],
  [{ ...good, isInRecovery: true, default_transaction_read_only: 'on' }, 'disk', ['READ_ONLY']],
  [{ ...good, default_transaction_read_only: 'on' }, 'disk', ['READ_ONLY']],
] as const)('settings %o of the server make level %s with faults %o', (settings, level, faults) => {
  expect(levelOf(settings)).toBe(level)
  expect(faultsOf(settings).map(({ code }) => code)).toEqual(faults)
})

it('lays arrays out as Postgres receives them, and reads the texts it sends', () => {
  expect(int4Array([1, -2]).toString('hex')).toBe(
    '00000001' + '00000000' + '00000017' + '00000002' + '00000001' + '0000000400000001' + '00000004fffffffe',
  )
  expect(
    int8Array([-1, 2 ** 53 - 1])
      .subarray(20)
      .toString('hex'),
  ).toBe('00000008ffffffffffffffff' + '00000008001fffffffffffff')
  expect(textArray(['', 'é']).subarray(20).toString('hex')).toBe('00000000' + '00000002c3a9')
  expect(readIntegers('{1,-2,9007199254740991}')).toEqual([1, -2, 9_007_199_254_740_991])
  expect(readIntegers('{}')).toEqual([])
  expect(readHexes('{"\\\\x00ff","\\\\x"}')).toEqual(['00ff', ''])
  expect(readHexes(null)).toEqual([])
})
