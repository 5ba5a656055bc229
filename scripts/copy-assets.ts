// A late step of a build: puts what the compiler does not copy where the compiled files look for it.
import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const assets = ['wire/generated/envelope.desc', 'preflight/catalogue-manifest.json', 'preflight/gates/import-child.mjs']

for (const asset of assets) {
  const source = fileURLToPath(new URL(`../src/${asset}`, import.meta.url))
  const target = fileURLToPath(new URL(`../dist/${asset}`, import.meta.url))
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(source, target)
}

// In a package it says which suites an attestation has to be of; it lies at the root of a checkout.
copyFileSync(
  fileURLToPath(new URL('../preflight.gates.json', import.meta.url)),
  fileURLToPath(new URL('../dist/preflight.gates.json', import.meta.url)),
)

// Only now is everything there that the record of the build lists.
await import('./write-build-info.ts')
