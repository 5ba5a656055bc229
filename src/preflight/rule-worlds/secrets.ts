// Worlds of the rules about the token secrets. None of these texts is a secret of anybody.
import type { Worlds } from '../check.ts'
import { healthySecret } from '../healthy-world.ts'
import { bad, fine, healthy, strictDevelopment } from './make.ts'
import { strongEnough, tooPredictable } from './secret-texts.ts'

const dev = { ARQONBUS_ENVIRONMENT: 'dev' }
const own = (text: string): { ARQONBUS_AUTH_JWT_SECRET: string } => ({ ARQONBUS_AUTH_JWT_SECRET: text })
const jwt = (text: string): { JWT_SECRET: string } => ({ JWT_SECRET: text })
const turned = healthySecret.split('').reverse().join('')
const keyPair = { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' }
const encoded = (encoding: 'hex' | 'base64' | 'base64url', text = 'Change-me-in-production'): string =>
  Buffer.from(text).toString(encoding)

/** Where a secret is read, and where not: the same for three rules. `weak` breaks the rule, with `code`. */
function whoseSecret(weak: string, code: string): Pick<Worlds, 'fails' | 'ignores' | 'skips'> & Worlds {
  return {
    passes: [healthy, fine('the bus has its own', own(turned)), fine('development', dev)],
    fails: [
      bad('the shared one', `JWT_SECRET ${code}`, jwt(weak)),
      bad('the one of the bus', `ARQONBUS_AUTH_JWT_SECRET ${code}`, own(weak)),
      bad('both', `JWT_SECRET ${code}, ARQONBUS_AUTH_JWT_SECRET ${code}`, { ...jwt(weak), ...own(weak) }),
      bad('in development', `JWT_SECRET ${code}`, { ...dev, ...jwt(weak) }),
      bad('the one of the bus in strict development', `ARQONBUS_AUTH_JWT_SECRET ${code}`, {
        ...strictDevelopment,
        ...own(weak),
      }),
      bad('at the bus alone', `JWT_SECRET ${code}`, jwt(weak), { programs: ['bus'] }),
      bad('its own at the bus alone', `ARQONBUS_AUTH_JWT_SECRET ${code}`, own(weak), { programs: ['bus'] }),
      bad('at Shield alone', `JWT_SECRET ${code}`, { ...jwt(weak), ...own(weak) }, { programs: ['shield'] }),
    ],
    ignores: [
      fine('one the bus does not read in development', { ...dev, ...own(weak) }),
      fine('a shared one the bus does not read', { ...jwt(weak), ...own(turned) }, { programs: ['bus'] }),
      fine('one of the bus that Shield does not read', own(weak), { programs: ['shield'] }),
    ],
    skips: [
      fine('tokens by key pair', { ...jwt(weak), ...keyPair }),
      fine('no secret', { JWT_SECRET: undefined }),
      fine('blank ones', { ...jwt(' '), ...own('') }),
      fine('no tokens at the bus', { ...jwt(weak), ARQONBUS_ENABLE_AUTH: 'false' }, { programs: ['bus'] }),
    ],
  }
}

const defaults = whoseSecret('changeme', 'PUBLISHED')
const strength = whoseSecret('aB3$'.repeat(10), 'TOO_PREDICTABLE')

const file = '/etc/arqonbus.env'
/** JWT_SECRET in a file of these permission bits. */
const inFile = (name: string, mode: number) =>
  [name, { JWT_SECRET: undefined, ARQONBUS_CONFIG_FILE: file }, { files: filesAt(mode) }] as const
const filesAt = (mode: number) => ({ [file]: { mode, text: `JWT_SECRET=${healthySecret}\n` } })
const keyFile = { ARQONBUS_AUTH_JWT_KEY_FILE: '/etc/arqonbus.jwks' }
const keyFileAt = (mode: number) => ({ files: { '/etc/arqonbus.jwks': { mode } } })

function openFile(name: string, mode: number) {
  const [title, env, more] = inFile(name, mode)
  return bad(title, 'JWT_SECRET FILE_OPEN_TO_OTHERS', env, more)
}

export const secretWorlds: Readonly<Record<string, Worlds>> = {
  'shield.jwt-secret-present': {
    passes: [healthy, fine('development', dev)],
    fails: [
      bad('not set', 'JWT_SECRET NOT_SET', { JWT_SECRET: undefined }),
      bad('not set in development', 'JWT_SECRET NOT_SET', { ...dev, JWT_SECRET: undefined }),
      bad('set to nothing', 'JWT_SECRET BLANK', jwt('')),
      bad('white space', 'JWT_SECRET BLANK', jwt(' \n')),
      bad('only the bus has one', 'JWT_SECRET NOT_SET', { JWT_SECRET: undefined, ...own(turned) }),
    ],
    ignores: [fine('a weak one', jwt('x'))],
    skips: [fine('tokens by key pair', { ...keyPair, JWT_SECRET: undefined })],
  },
  'shield.jwt-secret-not-default': {
    ...defaults,
    fails: [
      ...defaults.fails,
      ...[
        ['in capitals', 'CHANGEME'],
        ['with white space around', ' changeme\n'],
        ['in hex', encoded('hex')],
        ['in base64', encoded('base64')],
        ['in base64 for addresses', encoded('base64url')],
        ['in base64 with a newline', `${encoded('base64')}\n`],
        ['long', 'super-secret-jwt-token-with-at-least-32-characters-long'],
      ].map(([name, text]) => bad(name!, 'JWT_SECRET PUBLISHED', jwt(text!))),
    ],
    ignores: [
      ...defaults.ignores,
      fine('a published one with more behind it', jwt(`changeme-${healthySecret}`)),
      fine('weak, and published nowhere', jwt('zzzzzz')),
      fine('hex of a published one, with what is no hex behind it', jwt(`${encoded('hex')}!?`)),
      fine(
        'base64 of a published one, with what is no base64 in it',
        jwt(`${encoded('base64').slice(0, 4)}.${encoded('base64').slice(4)}`),
      ),
    ],
  },
  'shield.jwt-secret-strong': {
    ...strength,
    fails: [
      ...strength.fails,
      bad('31 bytes', 'JWT_SECRET TOO_SHORT', jwt(healthySecret.slice(0, 31))),
      bad('short and predictable', 'JWT_SECRET TOO_SHORT', jwt('z')),
      ...tooPredictable.map(([name, text]) => bad(name, 'JWT_SECRET TOO_PREDICTABLE', jwt(text))),
    ],
    ignores: [
      ...strength.ignores,
      fine('32 bytes', jwt(healthySecret.slice(0, 32))),
      fine(
        'fewer letters than bytes',
        jwt(String.fromCodePoint(...Array.from({ length: 31 }, (_, index) => 0x391 + ((index * 7) % 31) * 3))),
      ),
      ...strongEnough.map(([name, text]) => fine(name, jwt(text))),
    ],
  },
  'shield.jwt-secret-hygiene': {
    passes: [healthy, fine('in a file of its owner’s', inFile('', 0o100600)[1], inFile('', 0o100600)[2])],
    fails: [
      bad('a newline at the end', 'JWT_SECRET SURROUNDING_SPACE', jwt(`${healthySecret}\n`)),
      bad('a blank before', 'JWT_SECRET SURROUNDING_SPACE', jwt(` ${healthySecret}`)),
      bad('in another variable', 'JWT_SECRET ELSEWHERE_TOO', { ARQONBUS_HTTP_API_KEY: healthySecret }),
      bad('inside another variable', 'JWT_SECRET ELSEWHERE_TOO', { SOME_URL: `https://u:${healthySecret}@host` }),
      bad('with white space, and in another', 'JWT_SECRET SURROUNDING_SPACE, JWT_SECRET ELSEWHERE_TOO', {
        JWT_SECRET: `${healthySecret} `,
        COPY: healthySecret,
      }),
      bad(
        'the one of the bus, in two',
        'ARQONBUS_AUTH_JWT_SECRET ELSEWHERE_TOO, ARQONBUS_AUTH_JWT_SECRET ELSEWHERE_TOO',
        {
          ...own(turned),
          A: turned,
          B: turned,
        },
      ),
      openFile('a file that its group may read', 0o100640),
      openFile('a file that its group may execute', 0o100610),
      openFile('a file that others may execute', 0o100601),
      openFile('a file that everybody may read', 0o100644),
      bad(
        'a key file that others may read',
        'ARQONBUS_AUTH_JWT_KEY_FILE FILE_OPEN_TO_OTHERS',
        keyFile,
        keyFileAt(0o644),
      ),
      bad('strict development', 'JWT_SECRET SURROUNDING_SPACE', { ...strictDevelopment, ...jwt(`${healthySecret} `) }),
    ],
    ignores: [
      fine('both programs with the same', own(healthySecret)),
      fine('a file that its owner may execute', inFile('', 0o100700)[1], inFile('', 0o100700)[2]),
      fine(
        'an open file without the secret',
        { ARQONBUS_CONFIG_FILE: file },
        { files: { [file]: { mode: 0o644, text: '' } } },
      ),
      fine('a closed key file', keyFile, keyFileAt(0o600)),
      fine('a key file that is not there', keyFile),
    ],
    skips: [
      fine('development', { ...dev, ...jwt(`${healthySecret}\n`) }),
      fine('public keys', { ...keyPair, ...keyFile }, keyFileAt(0o644)),
    ],
  },
}
