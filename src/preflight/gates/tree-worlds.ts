// Worlds of the clean tree and of the compiler.
import type { JsonObject, Worlds } from '../check.ts'
import { attestedFails, attestedPasses } from './attestation-worlds.ts'
import type { InstallFacts, TypecheckFacts } from './clean-tree-probes.ts'
import type { ImportFacts } from './import-probes.ts'

const installed: InstallFacts = {
  by: 'run',
  hasLock: true,
  exit: 0,
  missing: [],
  extraneous: [],
  differ: [],
  count: 2,
  tree: 'sha256:ab',
}
const { exit: _, ...endless } = installed

export const installWorlds: Worlds<InstallFacts> = {
  passes: [{ name: 'as locked', facts: installed }, ...attestedPasses({ ...installed, hasLock: false })],
  ignores: [{ name: 'a warning of npm', facts: { ...installed, trouble: 'npm warn deprecated' } }],
  fails: [
    ...attestedFails(installed),
    {
      name: 'no lockfile',
      facts: { ...endless, hasLock: false },
      expect: { code: 'LOCK_ABSENT', findings: ['package-lock.json LOCK_ABSENT'] },
    },
    {
      name: 'a package whose hash is another',
      facts: { ...installed, exit: 1, code: 'EINTEGRITY', missing: ['node_modules/ws'] },
      expect: { code: 'INSTALL_FAILED', findings: ['package-lock.json INSTALL_FAILED'] },
    },
    {
      name: 'npm ended by a signal',
      facts: { ...endless, trouble: 'SIGSEGV' },
      expect: { code: 'INSTALL_FAILED', findings: ['package-lock.json INSTALL_FAILED'] },
    },
    {
      name: 'a package that is not there',
      facts: { ...installed, missing: ['node_modules/ws'] },
      expect: { code: 'PACKAGE_MISSING', findings: ['package-lock.json PACKAGE_MISSING'] },
    },
    {
      name: 'a package nobody locked',
      facts: { ...installed, extraneous: ['node_modules/x'] },
      expect: { code: 'PACKAGE_EXTRANEOUS', findings: ['package-lock.json PACKAGE_EXTRANEOUS'] },
    },
    {
      name: 'a package of another version',
      facts: { ...installed, differ: ['node_modules/ws'] },
      expect: { code: 'PACKAGE_DIFFERS', findings: ['package-lock.json PACKAGE_DIFFERS'] },
    },
    {
      name: 'a registry that does not answer',
      stopped: { code: 'REGISTRY_UNREACHABLE', observed: 'ECONNREFUSED' },
      expect: { status: 'error', code: 'REGISTRY_UNREACHABLE' },
    },
    {
      name: 'no npm',
      stopped: { code: 'NO_INSTALLER', observed: 'none' },
      expect: { code: 'NO_INSTALLER' },
    },
  ],
}

const compiled: TypecheckFacts = { by: 'run', version: '7.0.2', pinned: '7.0.2', exit: 0, errors: 0 }
const { exit: __, ...compilerEnded } = compiled

export const typecheckWorlds: Worlds<TypecheckFacts> = {
  passes: [{ name: 'nothing to say', facts: compiled }, ...attestedPasses({ ...compiled, version: '' })],
  ignores: [{ name: 'another version, and locked', facts: { ...compiled, version: '7.1.0', pinned: '7.1.0' } }],
  fails: [
    ...attestedFails(compiled),
    {
      name: 'no compiler',
      facts: { ...compilerEnded, version: '' },
      expect: { code: 'NO_COMPILER', findings: ['typescript NO_COMPILER'] },
    },
    {
      name: 'neither compiler nor lock',
      facts: { ...compilerEnded, version: '', pinned: '' },
      expect: { code: 'NO_COMPILER', findings: ['typescript NO_COMPILER'] },
    },
    {
      name: 'another compiler',
      facts: { ...compiled, version: '7.0.1' },
      expect: { code: 'OTHER_COMPILER', findings: ['typescript OTHER_COMPILER'] },
    },
    {
      name: 'an error',
      facts: { ...compiled, exit: 1, errors: 1, first: 'src/x.ts(1,1): error TS2322: no' },
      expect: { code: 'TYPE_ERRORS', findings: ['tsconfig.json TYPE_ERRORS'] },
    },
    {
      name: 'an error, and an exit that says otherwise',
      facts: { ...compiled, errors: 1 },
      expect: { code: 'TYPE_ERRORS', findings: ['tsconfig.json TYPE_ERRORS'] },
    },
    {
      name: 'a compiler that breaks',
      facts: { ...compiled, exit: 2 },
      expect: { code: 'COMPILER_FAILED', findings: ['tsconfig.json COMPILER_FAILED'] },
    },
    {
      name: 'a compiler ended by a signal',
      facts: compilerEnded,
      expect: { code: 'COMPILER_FAILED', findings: ['tsconfig.json COMPILER_FAILED'] },
    },
  ],
}

const quiet: JsonObject = {
  name: 'ws',
  isLate: false,
  resolved: 'node_modules/ws/wrapper.mjs',
  isAtHome: true,
  isListening: false,
  handles: [],
  changed: [],
  written: 0,
  ms: 20,
}
const imported = (changes: JsonObject = {}): ImportFacts => ({
  by: 'run',
  imports: [
    { ...quiet, name: 'pg' },
    { ...quiet, ...changes },
  ],
  undeclared: [],
  shadowed: [],
})

export const importWorlds: Worlds<ImportFacts> = {
  passes: [{ name: 'two quiet packages', facts: imported() }, ...attestedPasses({ ...imported(), imports: [] })],
  ignores: [{ name: 'a slow one', facts: imported({ ms: 9_000 }) }],
  fails: [
    ...attestedFails(imported()),
    {
      name: 'nothing to import',
      facts: { ...imported(), imports: [] },
      expect: { code: 'NOTHING_IMPORTED', findings: ['package.json NOTHING_IMPORTED'] },
    },
    {
      name: 'imported, and only for development',
      facts: { ...imported(), undeclared: [{ name: 'nanoid', isDev: true, file: 'src/x.ts' }] },
      expect: { code: 'UNDECLARED_IMPORT', findings: ['nanoid UNDECLARED_IMPORT'] },
    },
    {
      name: 'imported, and declared nowhere',
      facts: { ...imported(), undeclared: [{ name: 'nanoid', isDev: false, file: 'src/x.ts' }] },
      expect: { code: 'UNDECLARED_IMPORT', findings: ['nanoid UNDECLARED_IMPORT'] },
    },
    {
      name: 'a copy in our own code',
      facts: { ...imported(), shadowed: [{ name: 'ws', place: 'src/node_modules/ws' }] },
      expect: { code: 'SHADOWED', findings: ['ws SHADOWED'] },
    },
    {
      name: 'resolved elsewhere',
      facts: imported({ isAtHome: false, resolved: '../elsewhere/ws.js' }),
      expect: { code: 'SHADOWED', findings: ['ws SHADOWED'] },
    },
    {
      name: 'not there',
      facts: imported({ code: 'ERR_MODULE_NOT_FOUND', message: 'Cannot find package', isAtHome: false }),
      expect: { code: 'NOT_FOUND', findings: ['ws NOT_FOUND'] },
    },
    {
      name: 'not there, as require says it',
      facts: imported({ code: 'MODULE_NOT_FOUND', isAtHome: false }),
      expect: { code: 'NOT_FOUND', findings: ['ws NOT_FOUND'] },
    },
    {
      name: 'not exported',
      facts: imported({ code: 'ERR_PACKAGE_PATH_NOT_EXPORTED', isAtHome: false }),
      expect: { code: 'NOT_FOUND', findings: ['ws NOT_FOUND'] },
    },
    {
      name: 'broken',
      facts: imported({ code: 'SyntaxError', message: 'Unexpected token' }),
      expect: { code: 'IMPORT_FAILED', findings: ['ws IMPORT_FAILED'] },
    },
    {
      name: 'too late',
      facts: imported({ isLate: true, code: 'NO_ANSWER', isAtHome: false }),
      expect: { code: 'IMPORT_LATE', findings: ['ws IMPORT_LATE'] },
    },
    {
      name: 'a server on import',
      facts: imported({ isListening: true }),
      expect: { code: 'LISTENS', findings: ['ws LISTENS'] },
    },
    {
      name: 'a timer that never ends',
      facts: imported({ handles: ['Timeout'] }),
      expect: { code: 'HANDLE_OPEN', findings: ['ws HANDLE_OPEN'] },
    },
    {
      name: 'a variable changed',
      facts: imported({ changed: ['NODE_ENV'] }),
      expect: { code: 'ENVIRONMENT_CHANGED', findings: ['ws ENVIRONMENT_CHANGED'] },
    },
    {
      name: 'a word on standard output',
      facts: imported({ written: 1 }),
      expect: { code: 'WRITES_STDOUT', findings: ['ws WRITES_STDOUT'] },
    },
  ],
}
