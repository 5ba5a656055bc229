// `arqonbus preflight plugin check FILE`: what a plug-in is, that its checks can fail, and the entry for the policy.
import { basename, extname, resolve } from 'node:path'
import { Command } from 'commander'
import { type Terminal, toPrintableJson } from '../terminal.ts'

export function pluginCommand(terminal: Terminal): Command {
  const command = new Command('plugin').description('Checks of your own: see docs/preflight-plugins.md')
  command.addCommand(
    new Command('check')
      .description('Describe a plug-in, prove that its checks can fail, and print its entry for the policy')
      .argument('<file>', 'a .ts, .mts, .js or .mjs module, or an executable named arqon-check-<name>')
      .option('--json', 'print as JSON')
      .action((file: string, options: { json?: boolean }) => check(file, options, terminal)),
  )
  return command
}

async function check(file: string, { json }: { json?: boolean }, terminal: Terminal): Promise<void> {
  const { showEffect } = await import('../../preflight/catalogue.ts')
  const { readContent, sha256Of } = await import('../../preflight/plugins/content.ts')
  const { loadPlugin } = await import('../../preflight/plugins/load.ts')
  const { proveCheck } = await import('../../preflight/self-proof.ts')
  const path = resolve(terminal.cwd, file)
  const sha256 = sha256Of(readContent(path))
  const kind = extname(path) === '' && basename(path).startsWith('arqon-check-') ? 'program' : 'module'
  const checks = await loadPlugin({ path, sha256, kind })
  const proofs = checks.map((one) => ({ check: one, proof: proveCheck(one) }))
  const entry = { path: file, sha256, kind }
  if (json === true) {
    const rows = proofs.map(({ check: { id, title, phase, severity, class: fault, requires, effects }, proof }) => ({
      id,
      title,
      phase,
      severity,
      class: fault,
      requires,
      effects,
      kills: proof.kills,
    }))
    terminal.out(toPrintableJson({ checks: rows, entry }))
    return
  }
  for (const { check: one, proof } of proofs) {
    terminal.out(`${one.phase.padEnd(6)} ${one.severity.padEnd(8)} ${one.id}  ${one.title}`)
    for (const effect of one.effects) terminal.out(`                ${showEffect(effect)}`)
    for (const { world, code } of proof.kills) terminal.out(`                fails in ${world}: ${code}`)
  }
  terminal.out('proven; its entry in the policy, where relative paths count from the policy:')
  terminal.out('plugins:')
  terminal.out(`  - { path: ${JSON.stringify(file)}, sha256: ${sha256}, kind: ${kind} }`)
}
