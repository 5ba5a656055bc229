// A proxy in front of a real Valkey that answers one command after the other, and may change an answer: states that a
// real server cannot be brought into at will. What it does not change comes from the server.
import { createConnection, createServer, type Socket } from 'node:net'
import { parseReply } from '../../../src/valkey/resp.ts'

/** The answer as it goes out; the one given where nothing is changed. */
export type ChangeReply = (command: readonly string[], reply: Buffer) => Buffer | Promise<Buffer>

export interface RespProxy {
  readonly port: number
  /** Commands so far, by their first word. */
  readonly commands: readonly string[]
  close(): Promise<void>
}

export async function createRespProxy(target: number, change: ChangeReply): Promise<RespProxy> {
  const sockets = new Set<Socket>()
  const commands: string[] = []
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    keep(near)
    const far = keep(createConnection({ host: '127.0.0.1', port: target }))
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
    const asked = messagesOf(near)
    const answered = messagesOf(far)
    void (async () => {
      for await (const message of asked) {
        const command = parseReply(message)!.reply as readonly string[]
        commands.push(command[0]!)
        far.write(message)
        const { value: reply } = await answered.next()
        if (reply === undefined) return
        near.write(await change(command, reply))
      }
    })().catch(() => near.destroy())
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as { port: number }).port,
    commands,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}

/** Whole messages, commands and replies alike. */
async function* messagesOf(socket: Socket): AsyncGenerator<Buffer, void> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk as Buffer])
    for (let parsed = parseReply(bytes); parsed !== undefined; parsed = parseReply(bytes)) {
      yield bytes.subarray(0, parsed.end)
      bytes = bytes.subarray(parsed.end)
    }
  }
}

/** A server that reads its data: so many commands are answered with LOADING first, HELLO as ever. */
export function loadingFor(count: number): ChangeReply {
  let left = count
  return ([name], reply) => {
    if (name === 'HELLO' || left === 0) return reply
    left--
    return Buffer.from('-LOADING Redis is loading the dataset in memory\r\n')
  }
}

/** A server whose clock is so many milliseconds ahead. */
export function clockAhead(ms: number): ChangeReply {
  return ([name], reply) => {
    if (name !== 'TIME') return reply
    const [seconds, micros] = parseReply(reply)!.reply as readonly string[]
    const shifted = String(Number(seconds) + ms / 1_000)
    return Buffer.from(`*2\r\n$${shifted.length}\r\n${shifted}\r\n$${micros!.length}\r\n${micros}\r\n`)
  }
}

/** A managed service that leaves fields out of INFO, and refuses CONFIG. */
export function infoWithout(...fields: readonly string[]): ChangeReply {
  return infoChanged((lines) => lines.filter((line) => !fields.includes(line.slice(0, line.indexOf(':')))))
}

/** INFO with other values. */
export function infoWith(values: Readonly<Record<string, string>>): ChangeReply {
  return infoChanged((lines) =>
    lines.map((line) => {
      const name = line.slice(0, line.indexOf(':'))
      return values[name] === undefined ? line : `${name}:${values[name]}`
    }),
  )
}

function infoChanged(change: (lines: readonly string[]) => readonly string[]): ChangeReply {
  return ([name], reply) => {
    if (name === 'CONFIG') return Buffer.from("-NOPERM User default has no permissions to run the 'config' command\r\n")
    if (name !== 'INFO') return reply
    const text = change((parseReply(reply)!.reply as string).split('\r\n')).join('\r\n')
    return Buffer.from(`$${Buffer.byteLength(text)}\r\n${text}\r\n`)
  }
}
