// Worlds of port-checks.ts.
import type { JsonObject, Worlds } from '../check.ts'

const free: JsonObject = { variable: 'ARQONBUS_SERVER_PORT', at: '10.0.0.5:9100', trouble: '', isTarget: false }
const held: JsonObject = { ...free, trouble: 'EADDRINUSE' }
const foreign = { owner: 'pid 812 (node old-bus.js)', isOurs: false }
const ours = { owner: 'pid 812 (node arqonbus.mjs)', isOurs: true }
const listeners = (...list: JsonObject[]) => ({ listeners: list })

export const portWorlds: Worlds<{ readonly listeners: readonly JsonObject[] }> = {
  passes: [
    { name: 'free', facts: listeners(free) },
    { name: 'held by the running system', facts: listeners({ ...held, ...ours, isTarget: true }) },
  ],
  fails: [
    {
      name: 'no listener at all',
      facts: listeners(),
      expect: { code: 'NO_LISTENERS', findings: ['ARQONBUS_SERVER_PORT NO_LISTENERS'] },
    },
    {
      name: 'held by another',
      facts: listeners({ ...held, ...foreign }),
      expect: { code: 'PORT_IN_USE', findings: ['ARQONBUS_SERVER_PORT PORT_IN_USE'] },
    },
    {
      name: 'held by another, with a target',
      facts: listeners({ ...held, ...foreign, isTarget: true }),
      expect: { code: 'PORT_IN_USE' },
    },
    { name: 'held by a system nobody named', facts: listeners({ ...held, ...ours }), expect: { code: 'PORT_IN_USE' } },
    { name: 'held by nobody knows whom', facts: listeners(held), expect: { code: 'PORT_IN_USE' } },
    {
      name: 'an address of another machine',
      facts: listeners(free, { ...free, trouble: 'EADDRNOTAVAIL', isTarget: true }),
      expect: { code: 'ADDRESS_NOT_HERE', findings: ['ARQONBUS_SERVER_PORT ADDRESS_NOT_HERE'], class: 'config' },
    },
    {
      name: 'a port of the administrator',
      facts: listeners({ ...free, trouble: 'EACCES' }),
      expect: { code: 'NOT_ALLOWED', findings: ['ARQONBUS_SERVER_PORT NOT_ALLOWED'], class: 'config' },
    },
    {
      name: 'a name that is none',
      facts: listeners({ ...free, trouble: 'ENOTFOUND' }),
      expect: { code: 'HOST_UNKNOWN', findings: ['ARQONBUS_SERVER_PORT HOST_UNKNOWN'], class: 'config' },
    },
    {
      name: 'something else',
      facts: listeners({ ...free, trouble: 'EMFILE' }),
      expect: { code: 'CANNOT_BIND', findings: ['ARQONBUS_SERVER_PORT CANNOT_BIND'] },
    },
    {
      name: 'one of each kind',
      facts: listeners({ ...free, trouble: 'EACCES' }, { ...held, ...foreign }),
      expect: { code: 'NOT_ALLOWED' },
    },
  ],
  ignores: [
    { name: 'held, with a target, by an owner that cannot be seen', facts: listeners({ ...held, isTarget: true }) },
  ],
}
