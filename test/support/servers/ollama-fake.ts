// A fake of Ollama: no model can be run here, so this speaks as much of its HTTP API as the preflight asks for, with the
// answers of the real one (names with tags, digests, status 404 with an error for a model it does not have).
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface OllamaFake {
  readonly url: string
  /** Method, path and parsed body of each request so far. */
  readonly requests: readonly { readonly what: string; readonly body: unknown }[]
  close(): Promise<void>
}

export interface OllamaModel {
  /** With its tag, as Ollama lists it. */
  readonly name: string
  readonly digest: string
  /** Listed, and not there when it is asked for: a blob is gone. */
  readonly isBroken?: true
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** `override` answers in place of the fake, for paths that it names. */
export async function startOllamaFake(
  models: readonly OllamaModel[],
  override: Readonly<Record<string, Handler>> = {},
): Promise<OllamaFake> {
  const requests: { what: string; body: unknown }[] = []
  const find = (wanted: unknown): OllamaModel | undefined => {
    const name = typeof wanted === 'string' && !wanted.includes(':') ? `${wanted}:latest` : wanted
    return models.find((model) => model.name === name && model.isBroken !== true)
  }

  function answer(what: string, body: Readonly<Record<string, unknown>>): [number, object] {
    const model = find(body['model'])
    switch (what) {
      case 'GET /api/version':
        return [200, { version: '0.5.1' }]
      case 'GET /api/tags':
        return [
          200,
          { models: models.map(({ name, digest }) => ({ name, model: name, size: 1, digest, details: {} })) },
        ]
      case 'POST /api/show':
        if (model === undefined) return [404, { error: `model '${String(body['model'])}' not found` }]
        return [200, { details: { family: 'llama' }, model_info: {} }]
      case 'POST /api/generate':
        if (model === undefined) return [404, { error: `model '${String(body['model'])}' not found` }]
        return [200, { model: model.name, response: 'Yes', done: true, done_reason: 'length', eval_count: 1 }]
      default:
        return [404, { error: 'not found' }]
    }
  }

  const server = createServer((request, response) => {
    void (async () => {
      let text = ''
      for await (const chunk of request) text += String(chunk)
      const what = `${request.method} ${request.url}`
      const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
      requests.push({ what, body })
      const handler = override[what]
      if (handler !== undefined) {
        handler(request, response)
        return
      }
      const [status, value] = answer(what, body)
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(value))
    })()
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}
