#!/usr/bin/env node
// The `arqonbus` command under any Node: on one older than 24 it runs the Node that the package pins instead.
// Signals and the exit code pass through, and the program never outlives this launcher.
// Plain JavaScript without newer syntax, because it is what an old Node sees first.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const oldestNode = 24
const exitConfig = 78 // EX_CONFIG of sysexits.h: the machine lacks what the program needs

if (Number(process.versions.node.split('.')[0]) >= oldestNode) {
  followLauncher()
  const source = new URL('../src/bin/arqonbus.ts', import.meta.url)
  const built = new URL('../dist/bin/arqonbus.js', import.meta.url)
  await import((existsSync(source) ? source : built).href)
} else {
  launch(pinnedNode())
}

function pinnedNode() {
  try {
    return createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`)
  } catch {
    return refuse(
      `The pinned one (node-${process.platform}-${process.arch}) is not installed: run "npm ci" without --omit=optional, or use Node ${oldestNode} or newer.`,
    )
  }
}

function launch(node) {
  // The fourth channel carries nothing: its end tells the program that this launcher is gone, even by kill -9.
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => refuse(`The pinned one does not start here (${error.message}).`))
  child.on('close', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

/** When started with a channel, ends in good order (as on SIGTERM) once the other end is gone. */
function followLauncher() {
  if (!process.connected) return
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  process.channel.unref() // the channel must not keep a finished program alive
}

function refuse(reason) {
  console.error(`arqonbus needs Node ${oldestNode} or newer; this is ${process.version}.\n${reason}`)
  process.exit(exitConfig)
}
