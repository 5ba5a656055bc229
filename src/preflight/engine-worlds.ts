// Worlds of engine-check.ts.
import type { JsonObject } from '../base/json.ts'
import type { FaultClass } from '../rules/rule.ts'
import type { FailingWorld, Worlds } from './check.ts'

const facts = (judge: string, more: JsonObject = {}): { facts: JsonObject } => ({ facts: { judge, ...more } })

function stops(status: 'fail' | 'error', fault: FaultClass, codes: string): FailingWorld[] {
  return codes.split(' ').map((code) => ({
    name: `stopped by ${code}`,
    stopped: { code, observed: 'seen' },
    expect: { status, code, class: fault, ...(status === 'fail' && { findings: [`selftest.engine ${code}`] }) },
  }))
}

const misfits: readonly JsonObject[] = [
  {},
  { judge: 1 },
  { judge: 'passes', text: 1 },
  { judge: 'passes', text: null },
  { judge: 'passes', count: '1' },
  { judge: 'passes', count: Number.POSITIVE_INFINITY },
  { judge: 'passes', flag: 0 },
  { judge: 'passes', list: 'a' },
  { judge: 'passes', list: ['a', 1] },
  { judge: 'passes', things: {} },
  { judge: 'passes', things: [{}, 'a'] },
  { judge: 'passes', thing: [] },
  { judge: 'passes', other: 1 },
]

/** By the system's code, and as it is called here. */
const systemCodes: readonly (readonly [string, string])[] = [
  ['ECONNREFUSED', 'ECONNREFUSED'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'TLS_NAME'],
  ['CERT_HAS_EXPIRED', 'TLS_EXPIRED'],
  ['CERT_NOT_YET_VALID', 'TLS_NOT_YET_VALID'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'TLS_UNTRUSTED'],
  ['UNABLE_TO_GET_ISSUER_CERT', 'TLS_UNTRUSTED'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'TLS_UNTRUSTED'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'TLS_UNTRUSTED'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'TLS_UNTRUSTED'],
  ['EPROTO', 'TLS_REFUSED'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'TLS_REFUSED'],
]

export const engineWorlds: Worlds = {
  passes: [
    { name: 'what it needs', ...facts('passes') },
    { name: 'no code of ours', ...facts('names-the-code', { text: 'ENOSYS' }) },
    { name: 'no error at all', ...facts('names-the-code') },
  ],
  ignores: [
    {
      name: 'every form there is',
      ...facts('passes', { text: '', count: -0.5, flag: false, list: [], things: [], thing: {} }),
    },
    { name: 'full lists', ...facts('passes', { list: ['', 'a'], things: [{}, { a: 1 }], thing: { b: {} } }) },
    { name: 'a result with more than is asked for', ...facts('{"status":"pass","odd":1}') },
  ],
  fails: [
    { name: 'a judge that fails', ...facts('fails'), expect: { code: 'WRONG', findings: ['it WRONG'] } },
    {
      name: 'a judge that throws',
      ...facts('throws'),
      expect: { status: 'error', code: 'THREW', class: 'unknown' },
    },
    {
      name: 'a judge without an answer',
      ...facts('{"status":"error","code":"OWN","observed":""}'),
      expect: { status: 'error', code: 'OWN' },
    },
    ...[
      'null',
      '"pass"',
      '{}',
      '{"status":"good"}',
      '{"status":"good","findings":[{}]}',
      '{"status":"fail"}',
      '{"status":"fail","findings":{}}',
      '{"status":"fail","findings":[]}',
      '{"status":"error"}',
      '{"status":"error","code":1}',
    ].map(
      (result): FailingWorld => ({
        name: `a judge that returns ${result}`,
        ...facts(result),
        expect: { status: 'error', code: 'NO_ANSWER' },
      }),
    ),
    ...misfits.map(
      (misfit): FailingWorld => ({
        name: `facts that do not fit: ${JSON.stringify(misfit)}`,
        facts: misfit,
        expect: { status: 'error', code: 'BAD_FACTS', class: 'unknown' },
      }),
    ),
    ...systemCodes.map(
      ([text, code]): FailingWorld => ({
        name: `the system says ${text}`,
        ...facts('names-the-code', { text }),
        expect: { code, findings: [`it ${code}`] },
      }),
    ),
    {
      name: 'a stop without a step',
      ...facts('names-the-stop'),
      expect: { code: 'ProbeStop-code-observed' },
    },
    {
      name: 'a stop with its step',
      ...facts('names-the-stop', { text: 'tcp' }),
      expect: { code: 'ProbeStop-code-observed-step' },
    },
    ...stops(
      'fail',
      'dependency',
      'ENOTFOUND ECONNREFUSED ECONNRESET EPIPE EHOSTUNREACH ENETUNREACH ENOENT HUNG_UP TLS_EXPIRED TLS_NOT_YET_VALID STARTING LOADING READ_ONLY OUT_OF_MEMORY DISK_FULL TOO_MANY_CONNECTIONS SERVER_ERROR CLOSED NO_INSTALLER',
    ),
    ...stops(
      'fail',
      'config',
      'NOT_THE_PROTOCOL TLS_NAME TLS_UNTRUSTED TLS_REFUSED TLS_REQUIRED AUTH_REFUSED AUTH_REQUIRED NO_DATABASE NO_PERMISSION NO_SECRET UPGRADE_REFUSED COUNTS_UNREADABLE',
    ),
    ...stops('fail', 'regression', 'UNREADABLE_FRAME NO_WELCOME JOIN_REFUSED PUBLISH_REFUSED SUITES_UNREADABLE'),
    ...stops(
      'error',
      'dependency',
      'EAI_AGAIN ETIMEDOUT NO_ANSWER DEADLINE MALFORMED REGISTRY_UNREACHABLE COUNTS_UNWRITABLE NO_STAND_IN STAND_IN_FAILED NO_FREE_PORT NO_PROCFS',
    ),
    ...stops(
      'error',
      'regression',
      'NO_CANDIDATE PLUGIN_OUTPUT PLUGIN_ANSWERS PLUGIN_SILENT PLUGIN_EXIT PLUGIN_TOO_LOUD PLUGIN_LATE PLUGIN_LEAK PLUGIN_CHANGED',
    ),
    ...stops('error', 'unknown', 'THREW PROBE_DIED BAD_FACTS A_CODE_NOBODY_KNOWS'),
  ],
}
