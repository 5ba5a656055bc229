// A real nats-server for tests.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { requireProgram } from './neighbours.ts'
import { answers, type ServerProcess, startServer } from './server-process.ts'

export interface NatsServerProcess extends ServerProcess {
  /** Without credentials. */
  readonly url: string
}

/** `config` is text in the server's own form, beside the address. */
export async function startNatsServer({ config = '' }: { config?: string } = {}): Promise<NatsServerProcess> {
  const server = await startServer({
    program: requireProgram('nats'),
    prepare: ({ dir, port }) => writeFile(join(dir, 'nats.conf'), `listen: "127.0.0.1:${port}"\n${config}\n`),
    args: ({ dir }) => ['-c', join(dir, 'nats.conf')],
    isReady: ({ port }) => answers(port, '', (text) => text.startsWith('INFO')),
  })
  return Object.assign(server, { url: `nats://127.0.0.1:${server.port}` })
}
