// Imports one specifier and writes down what that did to the process. A copy of this file is put into the clean tree,
// so that the specifier is resolved from there: plain JavaScript, which imports nothing of ours.
//   node import-child.mjs <specifier> <file for the answer>
import { writeFileSync } from 'node:fs'
import { Server } from 'node:net'

const [specifier = '', answerPath = ''] = process.argv.slice(2)
/** How long what the import has begun may take to come to rest. */
const restMs = 1_000

let isListening = false
const listen = Server.prototype.listen
Server.prototype.listen = function (...args) {
  isListening = true
  return Reflect.apply(listen, this, args)
}

const before = { ...process.env }

function changedVariables() {
  const names = new Set([...Object.keys(before), ...Object.keys(process.env)])
  return [...names].filter((name) => before[name] !== process.env[name]).sort()
}

const answer = { specifier }
function write(handles) {
  writeFileSync(answerPath, JSON.stringify({ ...answer, isListening, changed: changedVariables(), handles }))
  process.exit()
}

const startedMs = performance.now()
try {
  answer.resolved = import.meta.resolve(specifier)
  await import(specifier)
  answer.ms = Math.round(performance.now() - startedMs)
} catch (error) {
  answer.code = error instanceof Error ? (error.code ?? error.name) : 'THREW'
  answer.message = error instanceof Error ? error.message : typeof error
}
// Nothing keeps the process: it would have ended here by itself.
process.once('beforeExit', () => write([]))
// Does not keep the process either, so it is only reached where something else does.
setTimeout(() => write([...new Set(process.getActiveResourcesInfo())]), restMs).unref()
