// Imports one specifier and writes down what that did to the process. A copy of this file is put into the clean tree,
// so that the specifier is resolved from there; it imports nothing of ours.
//   node import-child.ts <specifier> <file for the answer>
import { writeFileSync } from 'node:fs'
import { Server } from 'node:net'

const [specifier = '', answerPath = ''] = process.argv.slice(2)
/** How long what the import has begun may take to come to rest. */
const restMs = 1_000

let isListening = false
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const listen = Server.prototype.listen
Server.prototype.listen = function (this: Server, ...args: unknown[]): Server {
  isListening = true
  return Reflect.apply(listen, this, args) as Server
}

const before = { ...process.env }

function changedVariables(): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(process.env)])
  return [...names].filter((name) => before[name] !== process.env[name]).sort()
}

const answer: Record<string, unknown> = { specifier }
function write(handles: readonly string[]): void {
  writeFileSync(answerPath, JSON.stringify({ ...answer, isListening, changed: changedVariables(), handles }))
  process.exit()
}

const startedMs = performance.now()
try {
  answer['resolved'] = import.meta.resolve(specifier)
  await import(specifier)
  answer['ms'] = Math.round(performance.now() - startedMs)
} catch (error) {
  answer['code'] = error instanceof Error ? ((error as { code?: string }).code ?? error.name) : 'THREW'
  answer['message'] = error instanceof Error ? error.message : typeof error
}
// Nothing keeps the process: it would have ended here by itself.
process.once('beforeExit', () => write([]))
// Does not keep the process either, so it is only reached where something else does.
setTimeout(() => write([...new Set(process.getActiveResourcesInfo())].sort()), restMs).unref()
