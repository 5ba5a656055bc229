// `arqonbus version`: of this command, and of a server when its address is given.
import { Command } from 'commander'
import { version } from '../../base/version.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'
import { getJson } from './status.ts'

export function versionCommand(terminal: Terminal): Command {
  return new Command('version')
    .description('Print the version of this command, and of a bus when --http-url is given')
    .option('--http-url <url>', 'HTTP address of a bus')
    .option('--json', 'print as JSON')
    .action(async (options: { httpUrl?: string; json?: boolean }) => {
      const server = options.httpUrl === undefined ? undefined : await getJson(`${options.httpUrl}/version`)
      const own = { arqonbus: version, node: process.versions.node }
      if (options.json === true) {
        terminal.out(toPrintableJson(server === undefined ? own : { ...own, server }))
        return
      }
      terminal.out(`arqonbus ${own.arqonbus} (Node ${own.node})`)
      if (server !== undefined) terminal.out(`server ${toPrintable(server['version'] ?? 'unknown')}`)
    })
}
