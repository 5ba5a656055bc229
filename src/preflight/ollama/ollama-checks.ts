// The Ollama chain (runbook L13, "if enabled"): whether it applies is said by ARQONBUS_OLLAMA_ENABLED alone, never by
// what happens to run on this machine.
import {
  type Applicability,
  type Check,
  type CheckResult,
  defineCheck,
  failed,
  type JudgePorts,
  passed,
} from '../check.ts'
import { textIn } from '../json-fields.ts'
import { parseModelName, withTag } from './model-name.ts'
import {
  type AnswerFacts,
  type ModelFacts,
  probeAnswer,
  probeModel,
  probeReachable,
  type ReachableFacts,
} from './ollama-probes.ts'
import * as worlds from './ollama-worlds.ts'

const ollamaEnabled: Applicability = {
  name: 'ollama-enabled',
  test({ ctx: { resolution } }) {
    const { ollamaEnabled: holds } = resolution.values
    const because = `ARQONBUS_OLLAMA_ENABLED=${holds} (${resolution.sources.get('ollamaEnabled')?.kind ?? 'default'})`
    return { holds, because }
  },
}

const common = {
  runbook: ['L13'],
  phase: 'deps',
  class: 'dependency',
  appliesWhen: ollamaEnabled,
  deadlineMs: 5_000,
  resource: 'ollama',
} as const

function judgeReachable({ version, hasList }: ReachableFacts): CheckResult {
  const fix = 'correct ARQONBUS_OLLAMA_URL: what answers there is not Ollama'
  if (version === '') return failed('NO_VERSION', 'ARQONBUS_OLLAMA_URL', '/api/version names no version', fix)
  if (!hasList) return failed('NO_MODEL_LIST', 'ARQONBUS_OLLAMA_URL', '/api/tags lists no models', fix)
  return passed(version, { version })
}

const variable = 'ARQONBUS_OLLAMA_MODEL'

function judgeModel({ models, isShown }: ModelFacts, { ctx }: JudgePorts): CheckResult {
  const text = ctx.resolution.values.ollamaModel
  if (text === undefined) {
    return config(failed('MODEL_NOT_SET', variable, 'not set', `set ${variable}, for example llama3.1:8b`))
  }
  const wanted = parseModelName(text)
  if (wanted === undefined) {
    const fix = `set ${variable} to a name, name:tag or name:tag@sha256:<hex>`
    return config(failed('BAD_MODEL_NAME', variable, 'not the name of a model', fix))
  }
  const { name, digest } = wanted
  const pull = `ollama pull ${name}` // a name of the configuration, not something observed
  const found = models.find((model) => typeof model['name'] === 'string' && withTag(model['name']) === name)
  if (found === undefined) return failed('MODEL_ABSENT', variable, `${name} is not among ${models.length} models`, pull)
  if (!isShown) return failed('MODEL_BROKEN', variable, `${name} is listed, and cannot be shown`, pull)
  const actual = textIn(found, 'digest').replace(/^sha256:/, '')
  if (digest !== undefined && !actual.startsWith(digest)) {
    const fix = `${pull}, or correct the digest in ${variable}`
    return failed('OTHER_DIGEST', variable, `${name} is ${actual.slice(0, 12)}, not ${digest.slice(0, 12)}`, fix)
  }
  return passed(name, { model: name, isPinned: digest !== undefined })
}

const config = (result: CheckResult): CheckResult =>
  result.status === 'fail' ? { ...result, class: 'config' } : result

function judgeAnswer({ isDone, tokens }: AnswerFacts): CheckResult {
  if (isDone && tokens >= 1) return passed('one token')
  const fix = 'ask it by hand (ollama run), and look at the log of Ollama: memory, GPU'
  return failed('NO_TOKEN', variable, 'the model was asked and said nothing', fix)
}

export const ollamaChecks: readonly Check[] = [
  defineCheck({
    ...common,
    id: 'dep.ollama.reachable',
    title: 'Ollama answers',
    proves: 'At ARQONBUS_OLLAMA_URL something says its version and lists its models as Ollama does.',
    evidence: 'GET /api/version and /api/tags.',
    fix: 'Start it (ollama serve), or correct ARQONBUS_OLLAMA_URL; without Ollama set ARQONBUS_OLLAMA_ENABLED=false.',
    severity: 'critical',
    requires: ['meta.config-valid'],
    effects: [{ kind: 'net', what: 'two GET requests' }],
    retryOn: [
      'ECONNREFUSED',
      'ECONNRESET',
      'ENOTFOUND',
      'EAI_AGAIN',
      'ETIMEDOUT',
      'HUNG_UP',
      'SERVER_ERROR',
      'DEADLINE',
    ],
    hints: { ECONNREFUSED: 'start it (ollama serve), or correct ARQONBUS_OLLAMA_URL' },
    shape: { version: 'string', hasList: 'boolean' },
    probe: probeReachable,
    judge: judgeReachable,
    worlds: worlds.reachable,
  }),
  defineCheck({
    ...common,
    id: 'dep.ollama.model-present',
    title: 'The model is there',
    proves: 'ARQONBUS_OLLAMA_MODEL is among the models (no tag means latest), can be shown, and has the pinned digest.',
    evidence: 'GET /api/tags and POST /api/show.',
    fix: 'ollama pull, with the name in ARQONBUS_OLLAMA_MODEL.',
    severity: 'critical',
    requires: ['dep.ollama.reachable'],
    effects: [{ kind: 'net', what: 'a GET and a POST that only reads' }],
    shape: { models: 'objects', isShown: 'boolean' },
    probe: probeModel,
    judge: judgeModel,
    worlds: worlds.modelPresent,
  }),
  defineCheck({
    ...common,
    id: 'dep.ollama.model-answers',
    title: 'The model says something',
    proves: 'Asked for one token, the model gives one.',
    evidence: 'POST /api/generate: one token, temperature 0, unloaded afterwards.',
    fix: 'Ask it by hand (ollama run), and look at the log of Ollama.',
    severity: 'advisory',
    requires: ['dep.ollama.model-present'],
    // Loading a model of some gigabytes takes its time.
    deadlineMs: 60_000,
    isDeep: true,
    effects: [{ kind: 'net', what: 'loads the model for one token and unloads it' }],
    shape: { isDone: 'boolean', tokens: 'number' },
    probe: probeAnswer,
    judge: judgeAnswer,
    worlds: worlds.modelAnswers,
  }),
]
