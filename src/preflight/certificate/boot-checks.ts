// L66 as a refusal: the servers themselves ask for a GO, whoever skips the preflight.
import type { Finding } from '../../rules/rule.ts'
import { lanes } from '../boot/candidate.ts'
import { type Check, defineCheck, judgeAll } from '../check.ts'
import { certificateCases, expectedCodes, startUncertified } from './candidate.ts'
import { bootWorlds } from './boot-worlds.ts'
import { certificateAsked } from './pinned-checks.ts'

const refusedExit = 78
const fix = 'a fault of this version: report it, and start nothing until it is mended'

export const bootCertificateCheck: Check = defineCheck({
  id: 'boot.certificate-enforced',
  title: 'The servers start with a GO certificate only',
  proves:
    'Bus, Shield and projector of this build refuse a certificate that is missing, was not activated in time, was changed, or is of another build: exit code 78, the mismatch named, no socket opened. Only of one that was not activated in time Postgres is asked whether it was, elsewhere.',
  evidence: 'Of each start: the exit code, the mismatches that were named, the sockets that were opened.',
  fix,
  runbook: ['L66'],
  phase: 'boot',
  severity: 'blocker',
  class: 'regression',
  requires: ['meta.certificate-pinned'],
  appliesWhen: certificateAsked,
  deadlineMs: 30_000,
  lane: lanes.refused,
  effects: [
    {
      kind: 'spawn',
      what: `arqonbus bus, shield, projector, ${certificateCases.length} times, with services that do not exist`,
    },
    { kind: 'file', what: 'a folder for temporary files, removed again' },
  ],
  shape: { ends: 'objects' },
  probe: async (ports, signal) => ({ ends: await startUncertified(ports, signal) }),
  judge({ ends }) {
    const findings: Finding[] = []
    for (const { program, fault } of certificateCases) {
      const variable = `${program} ${fault}`
      const add = (code: string, found: string): void => void findings.push({ code, variable, found, fix })
      const end = ends.find((one) => one['program'] === program && one['fault'] === fault)
      if (end === undefined) {
        add('NOT_TRIED', 'it was not started')
        continue
      }
      const expected = expectedCodes[fault]
      const named = Array.isArray(end['named']) ? end['named'].map(String) : []
      const isAsking = fault === 'stale'
      const all = Array.isArray(end['opened']) ? end['opened'].map(String) : []
      const opened = all.filter((what) => !(isAsking && what === 'connect'))
      if (end['exit'] !== refusedExit)
        add('NOT_REFUSED', `exit code ${JSON.stringify(end['exit'])}, not ${refusedExit}`)
      if (!named.includes(expected)) add('NOT_NAMED', `${named.join(', ') || 'no mismatch'} named, not ${expected}`)
      // One cause at a time: whoever refuses everything has not looked.
      else if (named.length > 1) add('OTHERS_NAMED', named.join(', '))
      if (opened.length > 0) add('SOCKET_OPENED', opened.join(', '))
    }
    return judgeAll(findings, `${certificateCases.length} starts refused`)
  },
  worlds: bootWorlds,
})
