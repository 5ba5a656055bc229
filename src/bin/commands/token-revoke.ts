// `arqonbus token revoke`: ends the sessions of a subject or a tenant and refuses their tokens, at every bus.
import { Command } from 'commander'
import { addToolOptions, openToolClient, type ToolOptions } from '../connect-tool.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options extends ToolOptions {
  readonly subject?: string
  readonly everyone?: boolean
  readonly tenant?: string
  readonly json?: boolean
}

export function revokeCommand(terminal: Terminal): Command {
  const command = new Command('revoke')
    .description('End the sessions of a subject or a tenant and refuse their tokens, for as long as a token can last')
    .option('--subject <name>', 'whose')
    .option('--everyone', 'everybody of the tenant')
    .option('--tenant <tenant>', "the tenant; the token's own when left out, required with an operator's token")
    .option('--json', 'print the answer as one JSON object')
  addToolOptions(command)
  command.addHelpText(
    'after',
    `
It takes the token of an admin of the tenant, or of an operator, at a bus that asks for tokens or at a Shield. It is in
force at all buses with the same hot state within a second.

Examples:
  arqonbus token revoke --subject billing
  arqonbus token revoke --tenant acme --everyone --url wss://bus.example:9100`,
  )
  return command.action((options: Options) => revoke(options, terminal))
}

async function revoke(options: Options, terminal: Terminal): Promise<void> {
  const { subject, everyone = false, tenant } = options
  if (everyone === (subject !== undefined)) {
    throw new ExitError(exitCodes.usage, 'give either --subject or --everyone', 'Example: --subject billing')
  }
  const client = await openToolClient(options, terminal, {}, { tenant: tenant ?? 'default', role: 'admin' })
  try {
    const { data } = await client.command('auth.revoke', {
      ...(subject === undefined ? { everyone } : { subject }),
      ...(tenant !== undefined && { tenant_id: tenant }),
    })
    const { tenant_id: where, until } = data
    if (options.json === true || typeof where !== 'string' || typeof until !== 'string') {
      terminal.out(toPrintableJson(data))
    } else terminal.out(`revoked: ${subject ?? 'everybody'} of ${where}, until ${until}`)
  } finally {
    await client.close()
  }
}
