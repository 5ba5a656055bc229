// Rates and queues for tests that send as fast as they can and read whole logs. The limiting code stays on; the values are printed with the results.

const rates = {
  LIMIT_MESSAGES_PER_SECOND: '1000000',
  LIMIT_MESSAGES_BURST: '1000000',
  LIMIT_BYTES_PER_SECOND: '1000000000',
  LIMIT_BYTES_BURST: '1000000000',
  LIMIT_MAX_QUEUED_BYTES_PER_CLIENT: '100000000',
  LIMIT_HANDSHAKES_PER_SECOND: '100000',
  LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '100000',
} as const

/** Rates of bus and Shield out of the way, and recoveries of any length. */
export const raisedLimits: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(rates).flatMap(([name, value]) => [
      [`ARQONBUS_${name}`, value],
      [`SHIELD_${name}`, value],
    ]),
  ),
  ARQONBUS_LIMIT_MAX_RECOVER_MESSAGES: '1000000',
  ARQONBUS_LIMIT_MAX_RECOVER_BYTES: '1000000000',
  ARQONBUS_MAX_HISTORY_SIZE: '1000000',
  ARQONBUS_LIMIT_DEDUP_MAX_IDS: '1000000',
}

export const describeLimits = (env: Readonly<Record<string, string>>): string =>
  Object.entries(env)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
