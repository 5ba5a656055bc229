// What the Ollama checks ask.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { parseModelName } from './model-name.ts'
import { ollamaAt } from './ollama-http.ts'

export interface ReachableFacts {
  readonly version: string
  /** Is there a list of models at all, of whatever length? */
  readonly hasList: boolean
}

export async function probeReachable(ports: CheckPorts, signal: AbortSignal): Promise<ReachableFacts> {
  const ollama = ollamaAt(ports, signal)
  const { version } = await ollama.get('/api/version')
  const { models } = await ollama.get('/api/tags')
  return { version: typeof version === 'string' ? version : '', hasList: Array.isArray(models) }
}

export interface ModelFacts {
  /** `name` with its tag, and `digest`. */
  readonly models: readonly JsonObject[]
  /** Does it show the configured model when asked? */
  readonly isShown: boolean
}

export async function probeModel(ports: CheckPorts, signal: AbortSignal): Promise<ModelFacts> {
  const ollama = ollamaAt(ports, signal)
  const { models } = await ollama.get('/api/tags')
  const wanted = parseModelName(ports.ctx.resolution.values.ollamaModel ?? '')
  const shown = wanted === undefined ? undefined : await ollama.post('/api/show', { model: wanted.name })
  return {
    models: (Array.isArray(models) ? models : []).flatMap((model): JsonObject[] => {
      if (!isJsonObject(model) || typeof model['name'] !== 'string') return []
      return [{ name: model['name'], digest: typeof model['digest'] === 'string' ? model['digest'] : '' }]
    }),
    isShown: shown !== undefined,
  }
}

export interface AnswerFacts {
  readonly isDone: boolean
  /** Tokens that came. */
  readonly tokens: number
}

export async function probeAnswer(ports: CheckPorts, signal: AbortSignal): Promise<AnswerFacts> {
  const wanted = parseModelName(ports.ctx.resolution.values.ollamaModel ?? '')
  if (wanted === undefined) throw new ProbeStop('BAD_ADDRESS', 'ARQONBUS_OLLAMA_MODEL names no model', 'model')
  const answer = await ollamaAt(ports, signal).post('/api/generate', {
    model: wanted.name,
    prompt: 'Say yes.',
    stream: false,
    keep_alive: 0,
    options: { num_predict: 1, temperature: 0, seed: 1 },
  })
  const tokens = answer?.['eval_count']
  return { isDone: answer?.['done'] === true, tokens: typeof tokens === 'number' ? tokens : 0 }
}
