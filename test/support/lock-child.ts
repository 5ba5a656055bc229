// A process that takes the lock of a run when it is told to, says what came of it, and holds it until it is killed.
import { takeLock } from '../../src/preflight/meta/run-lock.ts'

const [folder = '', name = '', runId = ''] = process.argv.slice(2)
process.stdin.once('data', () => {
  const lock = takeLock(folder, name, runId, Date.now())
  process.stdout.write('heldBy' in lock ? 'lost\n' : 'taken\n')
})
process.stdout.write('ready\n')
