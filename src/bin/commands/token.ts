// `arqonbus token`: makes a bearer token with the secret of this environment, or of a development system's data folder.
import { Command, Option } from 'commander'
import type { Role } from '../../auth/identity.ts'
import { mintToken } from '../../auth/mint.ts'
import { dataDirOf, readDevelopmentSecret } from '../connect-tool.ts'
import { parseDuration } from '../duration.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { revokeCommand } from './token-revoke.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly subject: string
  readonly tenant: string
  readonly role: Role
  readonly ttl: number
  readonly permissions?: string
  readonly dataDir?: string
  readonly json?: boolean
}

export function tokenCommand(terminal: Terminal): Command {
  return new Command('token')
    .enablePositionalOptions()
    .description('Print a bearer token')
    .option('--subject <name>', 'whose token it is', 'cli')
    .option('--tenant <tenant>', 'its tenant; * for an operator', 'default')
    .addOption(new Option('--role <role>', 'what it may').choices(['user', 'admin', 'operator']).default('user'))
    .option('--ttl <time>', 'how long it is good: 90s, 15m, 8h or 1d', parseDuration, 3_600_000)
    .option(
      '--permissions <list>',
      'allow only these, comma separated: channel_access,channel_view,channel_management,store_access',
    )
    .option('--data-dir <dir>', 'where to look for a development secret (env ARQONBUS_DATA_DIR)')
    .option('--json', 'print {token, expires_in_seconds}')
    .addHelpText(
      'after',
      `
The secret comes from ARQONBUS_AUTH_JWT_SECRET, else JWT_SECRET, else from the data folder that \`arqonbus up\` keeps.
It is never an argument: arguments are visible to every user of the machine.

Examples:
  export ARQONBUS_AUTH_JWT=$(arqonbus token)
  arqonbus token --subject billing --tenant acme --ttl 15m --permissions channel_access`,
    )
    .action((options: Options) => token(options, terminal))
    .addCommand(revokeCommand(terminal))
}

async function token(options: Options, terminal: Terminal): Promise<void> {
  const { subject, tenant, role, ttl, permissions } = options
  const ttlSeconds = Math.floor(ttl / 1_000)
  const secret =
    terminal.env['ARQONBUS_AUTH_JWT_SECRET'] ??
    terminal.env['JWT_SECRET'] ??
    (await readDevelopmentSecret(dataDirOf(options, terminal)))
  if (secret === undefined) {
    throw new ExitError(
      exitCodes.config,
      'there is no secret to sign with',
      'Set ARQONBUS_AUTH_JWT_SECRET or JWT_SECRET, or run `arqonbus up` once, which makes one in its data folder.',
    )
  }
  const made = await mintToken({
    secret,
    subject,
    tenant,
    role,
    ttlSeconds,
    ...(permissions !== undefined && { permissions: permissions.split(',') }),
  })
  terminal.out(options.json === true ? toPrintableJson({ token: made, expires_in_seconds: ttlSeconds }) : made)
}
