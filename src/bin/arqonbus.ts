// The program `arqonbus`: the one place that touches the process (arguments, environment, streams, signals, exit).
import { runProgram } from './program.ts'
import { createTerminal } from './terminal.ts'

await runProgram(process.argv.slice(2), createTerminal(process))
// What is still open by now (an idle keep-alive socket, a timer) must not keep a finished command from ending; what is
// written must still leave, also through a slow pipe.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))
