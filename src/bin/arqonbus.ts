// The program `arqonbus`: the one place that touches the process (arguments, environment, streams, signals, exit).
import { holdYoungGeneration } from './young-generation.ts'

/** These run until they are told to end. */
const servers: readonly (string | undefined)[] = ['up', 'bus', 'shield', 'projector']
const args = process.argv.slice(2)
if (servers.includes(args[0])) holdYoungGeneration()

const { createTerminal } = await import('./terminal.ts')
const { runProgram } = await import('./program.ts')
await runProgram(args, createTerminal(process))
// What is still open by now (an idle keep-alive socket, a timer) must not keep a finished command from ending; what is
// written must still leave, also through a slow pipe.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))
