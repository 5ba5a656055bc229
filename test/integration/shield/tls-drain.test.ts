// A Shield with a certificate of its own goes as one without: every client is told when to come back, and reads the code
// of its close.
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { makeCertificates } from '../../support/certificates.ts'
import { startEdgeLab } from '../../support/edge-lab.ts'

test('over TLS every client gets goaway and 1012', async () => {
  const certificates = await makeCertificates('127.0.0.1')
  const lab = await startEdgeLab()
  try {
    const shield = await lab.startShield('tls', {
      env: {
        SHIELD_TLS_CERT_FILE: certificates.certificate,
        SHIELD_TLS_KEY_FILE: certificates.key,
        SHIELD_LIMIT_CLOSES_PER_SECOND: '200',
      },
    })
    const ca = await readFile(certificates.authority)
    const clients = await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const headers = { authorization: `Bearer acme.client-${n}` }
        const ws = new WebSocket(`wss://127.0.0.1:${shield.port}/ws`, { ca, headers, perMessageDeflate: false })
        const types: string[] = []
        ws.on('message', (data: Buffer, isBinary: boolean) => {
          const frame = isBinary
            ? decodeProtobuf(data, defaultWireLimits)
            : (JSON.parse(data.toString()) as { type: string })
          types.push(frame.type)
        })
        const closed = new Promise<number>((resolve) => ws.once('close', (code) => resolve(code)))
        await once(ws, 'message') // the welcome
        return { closed, types }
      }),
    )
    await shield.close()
    expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(clients.map(() => 1012))
    for (const { types } of clients) expect(types.at(-1)).toBe('goaway')
  } finally {
    await lab.close()
    await certificates.close()
  }
})
