// A process of plain Node that runs preflights on request: plug-ins are loaded with Node's own loader, which the test
// runner replaces by its own.
import type { PreflightInputs } from '../../src/preflight/inputs.ts'
import { runPreflight } from '../../src/preflight/run.ts'

process.on('message', (inputs: PreflightInputs) => {
  void runPreflight(inputs).then((report) => process.send?.(report))
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
