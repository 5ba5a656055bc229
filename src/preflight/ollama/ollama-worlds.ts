// Worlds of the Ollama checks.
import type { JsonObject } from '../../base/json.ts'
import type { Worlds } from '../check.ts'
import type { AnswerFacts, ModelFacts, ReachableFacts } from './ollama-probes.ts'

const on = { ARQONBUS_OLLAMA_ENABLED: 'true' }
const wanting = (model: string) => ({ ...on, ARQONBUS_OLLAMA_MODEL: model })
const stopped = (code: string) => ({ env: on, stopped: { code, observed: 'as it says', step: 'GET /api/version' } })

export const reachable: Worlds<ReachableFacts> = {
  passes: [{ name: 'it answers', env: on, facts: { version: '0.5.1', hasList: true } }],
  fails: [
    {
      name: 'no version',
      env: on,
      facts: { version: '', hasList: true },
      expect: { code: 'NO_VERSION', findings: ['ARQONBUS_OLLAMA_URL NO_VERSION'] },
    },
    {
      name: 'no list',
      env: on,
      facts: { version: '0.5.1', hasList: false },
      expect: { code: 'NO_MODEL_LIST', findings: ['ARQONBUS_OLLAMA_URL NO_MODEL_LIST'] },
    },
    { name: 'nobody there', ...stopped('ECONNREFUSED'), expect: { code: 'ECONNREFUSED' } },
    { name: 'another service', ...stopped('NOT_THE_PROTOCOL'), expect: { code: 'NOT_THE_PROTOCOL', class: 'config' } },
    { name: 'status 503', ...stopped('SERVER_ERROR'), expect: { code: 'SERVER_ERROR' } },
    { name: 'a bad address', ...stopped('BAD_ADDRESS'), expect: { code: 'BAD_ADDRESS', class: 'config' } },
  ],
  ignores: [{ name: 'a version that we never heard of', env: on, facts: { version: 'dev', hasList: true } }],
}

const digest = 'a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72'
const model = (name: string, own = digest): JsonObject => ({ name, digest: own })
const has = (...models: readonly JsonObject[]): ModelFacts => ({ models, isShown: true })

export const modelPresent: Worlds<ModelFacts> = {
  passes: [
    { name: 'name and tag', env: wanting('llama3.1:8b'), facts: has(model('qwen:1b'), model('llama3.1:8b')) },
    { name: 'the pinned one', env: wanting(`llama3.1:8b@sha256:${digest}`), facts: has(model('llama3.1:8b')) },
  ],
  fails: [
    {
      name: 'no model is named',
      env: on,
      facts: has(model('llama3.1:8b')),
      expect: { code: 'MODEL_NOT_SET', findings: ['ARQONBUS_OLLAMA_MODEL MODEL_NOT_SET'], class: 'config' },
    },
    {
      name: 'a name with a blank',
      env: wanting('llama 3'),
      facts: has(model('llama 3:latest')),
      expect: { code: 'BAD_MODEL_NAME', findings: ['ARQONBUS_OLLAMA_MODEL BAD_MODEL_NAME'], class: 'config' },
    },
    {
      name: 'a digest that is too short',
      env: wanting('llama3.1@sha256:a80c4f17acd'),
      facts: has(model('llama3.1:latest')),
      expect: { code: 'BAD_MODEL_NAME', class: 'config' },
    },
    {
      name: 'no models',
      env: wanting('llama3.1:8b'),
      facts: has(),
      expect: { code: 'MODEL_ABSENT', findings: ['ARQONBUS_OLLAMA_MODEL MODEL_ABSENT'] },
    },
    {
      name: 'another tag',
      env: wanting('llama3.1:8b'),
      facts: has(model('llama3.1:70b')),
      expect: { code: 'MODEL_ABSENT' },
    },
    {
      name: 'a tag, and none was asked for',
      env: wanting('llama3.1'),
      facts: has(model('llama3.1:8b')),
      expect: { code: 'MODEL_ABSENT' },
    },
    {
      name: 'a longer name',
      env: wanting('llama3'),
      facts: has(model('llama3.1:latest')),
      expect: { code: 'MODEL_ABSENT' },
    },
    {
      name: 'listed, and not to be shown',
      env: wanting('llama3.1:8b'),
      facts: { ...has(model('llama3.1:8b')), isShown: false },
      expect: { code: 'MODEL_BROKEN', findings: ['ARQONBUS_OLLAMA_MODEL MODEL_BROKEN'] },
    },
    {
      name: 'another version',
      env: wanting(`llama3.1:8b@sha256:${'b'.repeat(12)}`),
      facts: has(model('llama3.1:8b')),
      expect: { code: 'OTHER_DIGEST', findings: ['ARQONBUS_OLLAMA_MODEL OTHER_DIGEST'] },
    },
    {
      name: 'no digest to compare with',
      env: wanting(`llama3.1:8b@sha256:${digest}`),
      facts: has(model('llama3.1:8b', '')),
      expect: { code: 'OTHER_DIGEST' },
    },
  ],
  ignores: [
    {
      name: 'asked without the tag, listed with latest',
      env: wanting('llama3.1'),
      facts: has(model('llama3.1:latest')),
    },
    { name: 'asked with latest, listed without', env: wanting('llama3.1:latest'), facts: has(model('llama3.1')) },
    { name: 'a registry with a port', env: wanting('hub:5000/a/b'), facts: has(model('hub:5000/a/b:latest')) },
    {
      name: 'the first digits of the digest, listed with their kind',
      env: wanting(`llama3.1@sha256:${digest.slice(0, 12)}`),
      facts: has(model('llama3.1:latest', `sha256:${digest}`)),
    },
  ],
}

export const modelAnswers: Worlds<AnswerFacts> = {
  passes: [{ name: 'one token', env: wanting('llama3.1'), facts: { isDone: true, tokens: 1 } }],
  fails: [
    {
      name: 'no token',
      env: wanting('llama3.1'),
      facts: { isDone: true, tokens: 0 },
      expect: { code: 'NO_TOKEN', findings: ['ARQONBUS_OLLAMA_MODEL NO_TOKEN'] },
    },
    {
      name: 'it never ended',
      env: wanting('llama3.1'),
      facts: { isDone: false, tokens: 1 },
      expect: { code: 'NO_TOKEN' },
    },
    { name: 'status 500', ...stopped('SERVER_ERROR'), expect: { code: 'SERVER_ERROR' } },
  ],
  ignores: [{ name: 'more than was asked for', env: wanting('llama3.1'), facts: { isDone: true, tokens: 2 } }],
}
