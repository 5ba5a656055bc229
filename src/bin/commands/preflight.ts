// `arqonbus preflight`: the production runbook as checks with evidence and a verdict. The exit code is that of the
// verdict (docs/preflight.md), in every output format.
import { Command } from 'commander'
import type { Terminal } from '../terminal.ts'
import { attestCommand } from './preflight-attest.ts'
import { breakGlassCommand, certifyCommand } from './preflight-certify.ts'
import { diffCommand } from './preflight-diff.ts'
import { incidentCommand } from './preflight-incident.ts'
import { explainCommand, listCommand } from './preflight-list.ts'
import { planCommand } from './preflight-plan.ts'
import { pluginCommand } from './preflight-plugin.ts'
import { replayCommand } from './preflight-replay.ts'
import { runCommand } from './preflight-run.ts'
import { selftestCommand } from './preflight-selftest.ts'
import { verifyCommand } from './preflight-verify.ts'
import { waiversCommand } from './preflight-waivers.ts'

const subCommands = [
  planCommand,
  listCommand,
  explainCommand,
  waiversCommand,
  attestCommand,
  certifyCommand,
  verifyCommand,
  breakGlassCommand,
  replayCommand,
  diffCommand,
  incidentCommand,
  selftestCommand,
  pluginCommand,
]

export function preflightCommand(terminal: Terminal): Command {
  const command = new Command('preflight').description(
    'Prove that a production start is safe: GO or NO-GO with evidence',
  )
  command.addCommand(runCommand(terminal), { isDefault: true })
  for (const make of subCommands) command.addCommand(make(terminal))
  return command.addHelpText(
    'after',
    `
Examples:
  arqonbus preflight --profile prod
  arqonbus preflight run --only dep.valkey --json
  arqonbus preflight plan --read-only
  arqonbus preflight explain bus.no-defaults

Exit codes: 0 GO; 20, 21, 22 NO-GO (blocker, critical, high); 30 INCONCLUSIVE; 64 wrong call; 70 a fault of ours`,
  )
}
