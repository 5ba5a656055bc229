// Looks at the way to Postgres and at what answers there.
import type { CheckPorts, FactsOf } from '../check.ts'
import { flagIn, look, numberIn, textIn } from './look.ts'

export const connectShape = { sent: 'string', echo: 'string', server: 'string', answeredBy: 'string' } as const

export async function probeConnect(ports: CheckPorts): Promise<FactsOf<typeof connectShape>> {
  const sent = ports.nonce()
  return await look(ports, async ({ connection, address, ask }) => {
    const row = await ask('SELECT $1::text AS echo', [sent])
    return { sent, echo: textIn(row, 'echo'), server: address.shown, answeredBy: connection.peer.shown }
  })
}

export const versionShape = { version: 'number', encoding: 'string', standardStrings: 'string' } as const

export async function probeVersion(ports: CheckPorts): Promise<FactsOf<typeof versionShape>> {
  return await look(ports, async ({ ask }) => {
    const row = await ask(`SELECT current_setting('server_version_num')::int AS version,
      current_setting('server_encoding') AS encoding, current_setting('standard_conforming_strings') AS strings`)
    return {
      version: numberIn(row, 'version'),
      encoding: textIn(row, 'encoding'),
      standardStrings: textIn(row, 'strings'),
    }
  })
}

export const writableShape = {
  isInRecovery: 'boolean',
  transactionReadOnly: 'string',
  defaultReadOnly: 'string',
} as const

export async function probeWritable(ports: CheckPorts): Promise<FactsOf<typeof writableShape>> {
  return await look(ports, async ({ ask }) => {
    const row = await ask(`SELECT pg_is_in_recovery() AS recovery, current_setting('transaction_read_only') AS now,
      current_setting('default_transaction_read_only') AS later`)
    return {
      isInRecovery: flagIn(row, 'recovery'),
      transactionReadOnly: textIn(row, 'now'),
      defaultReadOnly: textIn(row, 'later'),
    }
  })
}

export const skewShape = { samples: 'objects' } as const

/** Of each sample, ms: how far the server's clock is ahead, by the midpoint, and how wrong that can be. */
export async function probeSkew(ports: CheckPorts): Promise<FactsOf<typeof skewShape>> {
  const { clock } = ports
  return await look(ports, async ({ ask }) => {
    const samples = []
    for (let n = 0; n < 5; n++) {
      const wall = clock.now()
      const before = clock.monotonic()
      const row = await ask('SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms')
      const half = (clock.monotonic() - before) / 2
      samples.push({ offset: Math.round(numberIn(row, 'ms') - wall - half), uncertainty: Math.ceil(half) })
    }
    return { samples }
  })
}

export const tlsShape = {
  isUnixSocket: 'boolean',
  isEncrypted: 'boolean',
  version: 'string?',
  /** `name`, `chain` or `nothing`. */
  verified: 'string',
  notAfterMs: 'number?',
} as const

export async function probeTls(ports: CheckPorts): Promise<FactsOf<typeof tlsShape>> {
  return await look(ports, async ({ connection, address, ask }) => {
    const row = await ask('SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
    const { tls } = address.reveal()
    const { isUnixSocket, certificate } = connection.peer
    const isChecked = tls !== false && tls.rejectUnauthorized
    return {
      isUnixSocket,
      isEncrypted: flagIn(row, 'ssl'),
      ...(row['version'] !== null && { version: textIn(row, 'version') }),
      verified: !isChecked ? 'nothing' : tls.checkServerIdentity === undefined ? 'name' : 'chain',
      ...(certificate !== undefined && certificate),
    }
  })
}
