// `arqonbus shield`: the gateway alone. It needs a link to a bus in another process, which this version does not have;
// the configuration is checked all the same, and the refusal says what to do.
import { Command } from 'commander'
import { toShieldConfig } from '../../config/load.ts'
import { resolveKeys } from '../../config/resolve.ts'
import type { Terminal } from '../terminal.ts'
import { noNats } from './bus.ts'

export function shieldCommand(terminal: Terminal): Command {
  return new Command('shield').description('Run the gateway alone (not in this version: it needs NATS)').action(() => {
    toShieldConfig(resolveKeys(terminal.env))
    throw noNats('Run both with `arqonbus up`.')
  })
}
