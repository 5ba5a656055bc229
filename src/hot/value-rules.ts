// What a tenant's values may take, summed and refused alike by every adapter.
import { BusError } from '../base/errors.ts'
import type { ValueName } from './hot-state.ts'

export function valueBytes({ namespace, key }: Omit<ValueName, 'tenant'>, text: string): number {
  return Buffer.byteLength(namespace) + Buffer.byteLength(key) + Buffer.byteLength(text)
}

export function tooMany(limit: 'store-keys' | 'store-bytes', max: number): BusError {
  const what = limit === 'store-keys' ? 'keys' : 'bytes of stored values'
  return new BusError('LIMIT_EXCEEDED', `This tenant has its ${max} ${what}`, { limit, max })
}
