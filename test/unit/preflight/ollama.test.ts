// The Ollama checks, proven on their worlds; that the switch alone decides whether they apply.
import { describe, expect, it } from 'vitest'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { ollamaChecks } from '../../../src/preflight/ollama/ollama-checks.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'
import { createRuleContext } from '../../../src/rules/context.ts'

describe('the Ollama checks', () => {
  it.each(ollamaChecks.map((check) => [check.id, check] as const))('%s is proven', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  it.each<[Record<string, string>, boolean, string]>([
    [{}, false, 'ARQONBUS_OLLAMA_ENABLED=false (default)'],
    [{ ARQONBUS_OLLAMA_MODEL: 'llama3.1' }, false, 'ARQONBUS_OLLAMA_ENABLED=false (default)'],
    [{ ARQONBUS_OLLAMA_ENABLED: '0' }, false, 'ARQONBUS_OLLAMA_ENABLED=false (env)'],
    [{ ARQONBUS_OLLAMA_ENABLED: '1' }, true, 'ARQONBUS_OLLAMA_ENABLED=true (env)'],
  ])('%o decides: %s', (env, holds, because) => {
    const ports = { ctx: createRuleContext(env), targets: {} }
    for (const { appliesWhen } of ollamaChecks) expect(appliesWhen.test(ports)).toEqual({ holds, because })
  })

  it.each(['yes', 'on', '', ' true'])('a switch set to %o is a fault of the configuration, not off', (text) => {
    const { problems } = resolveKeys({ ARQONBUS_OLLAMA_ENABLED: text })
    expect(problems.map(({ variable }) => variable)).toEqual(['ARQONBUS_OLLAMA_ENABLED'])
  })
})
