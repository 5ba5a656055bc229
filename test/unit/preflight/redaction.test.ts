// Nothing that is known to be secret survives, however it was printed; what is no secret does.
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import { isSecretName, knownSecrets } from '../../../src/preflight/incident/known-secrets.ts'
import { createRedactor, type Redactor } from '../../../src/preflight/incident/redact.ts'
import { judgeAnswer } from '../../../src/preflight/judge.ts'
import { stops } from '../../../src/preflight/stops.ts'
import { plantedSecrets, printedForms } from '../../support/planted-secrets.ts'

const key = Buffer.alloc(32, 7)
type Known = Parameters<typeof createRedactor>[0][number]
const redactorOf = (...secrets: { name: string; value: string; kind?: Known['kind'] }[]): Redactor =>
  createRedactor(
    secrets.map((secret) => ({ kind: 'secret', ...secret })),
    () => key,
  )
const none = redactorOf()
const all = redactorOf(...plantedSecrets)

/** Of the bytes of texts that need not be UTF-8. */
const redactBytes = (redactor: Redactor, text: Buffer): Buffer => redactor.redact(text).bytes
const bytesOf = (form: string, printed: string): Buffer =>
  Buffer.from(printed, form.startsWith('UTF-16') ? 'latin1' : 'utf8')

describe('a known secret', () => {
  it.each(Object.keys(printedForms))('does not survive %s', (form) => {
    for (const { name, value } of plantedSecrets) {
      const printed = bytesOf(form, printedForms[form]!(value))
      const text = Buffer.concat([Buffer.from('before: '), printed, Buffer.from(' :after')])
      const clean = redactBytes(all, text)
      expect(clean.includes(printed), `${name} ${form}`).toBe(false)
      expect(clean.toString('utf8'), `${name} ${form}`).toContain(`«secret:${name}:`)
      expect(clean.toString('utf8'), form).toMatch(/^before: [\s\S]* :after$/)
      expect(all.remains(text)).toContain(name)
      expect(all.remains(clean)).toEqual([])
    }
  })

  it('keeps one marker wherever it is, with four hex that depend on the key', () => {
    const redactor = redactorOf({ name: 'A_SECRET', value: 'correct horse' })
    const shown = redactor.text('correct horse, correct%20horse')
    expect(shown).toMatch(/^«secret:A_SECRET:([0-9a-f]{4})», «secret:A_SECRET:\1»$/)
    const other = createRedactor([{ name: 'A_SECRET', value: 'correct horse', kind: 'secret' }], () => randomBytes(32))
    // One in 65,536 keys gives the same four letters.
    const marks = new Set([shown, ...Array.from({ length: 3 }, () => other.text('correct horse, correct%20horse'))])
    expect(marks.size).toBeGreaterThan(1)
  })

  it('is taken out whole where a part of it is a secret too', () => {
    const redactor = redactorOf({ name: 'LONG', value: 'alpha-beta-gamma' }, { name: 'PART', value: 'alpha-beta' })
    expect(redactor.text('alpha-beta-gamma alpha-beta')).toMatch(/^«secret:LONG:\w{4}» «secret:PART:\w{4}»$/)
  })

  it('is found when it is encoded twice, so that the file can be left out', () => {
    const [{ name, value }] = plantedSecrets as [(typeof plantedSecrets)[0]]
    const twice = Buffer.from(Buffer.from(`user:${value}`).toString('base64')).toString('base64')
    const text = Buffer.from(`log ${twice} end`)
    expect(redactBytes(all, text)).toEqual(text)
    expect(all.remains(text)).toEqual([name])
    const thrice = Buffer.from(JSON.stringify({ token: encodeURIComponent(value) })).toString('hex')
    expect(all.remains(Buffer.from(thrice))).toEqual([name])
  })

  it('is reported equal to another, without its value', () => {
    const redactor = redactorOf(
      { name: 'JWT_SECRET', value: 'the same value' },
      { name: 'ARQONBUS_AUTH_JWT_SECRET', value: 'the same value' },
      { name: 'OTHER', value: 'another value' },
    )
    expect(redactor.facts().relations).toEqual([
      { fingerprint: redactor.fingerprint('the same value'), names: ['ARQONBUS_AUTH_JWT_SECRET', 'JWT_SECRET'] },
    ])
    expect(JSON.stringify(redactor.facts())).not.toContain('the same value')
  })

  it('goes from fields and their names of a value too', () => {
    const shown = all.value({ [plantedSecrets[0]!.value]: [1, null, { deep: `x${plantedSecrets[1]!.value}` }] })
    const text = JSON.stringify(shown)
    expect(text).toContain('PLANTED_0_SECRET')
    expect(text).toContain('PLANTED_1_SECRET')
    expect(text).not.toContain(plantedSecrets[1]!.value)
    expect(text).toContain('[1,null,{"deep":"x«')
  })

  it('takes as many passes as one, however many there are', () => {
    const text = Buffer.from(`${'nothing to see here\n'.repeat(1_000)}%41`)
    const passesOf = (redactor: Redactor): number => {
      const before = redactor.passes()
      redactor.redact(text)
      return redactor.passes() - before
    }
    expect(passesOf(all)).toBe(passesOf(redactorOf(plantedSecrets[0]!)))
    expect(passesOf(all)).toBeLessThan(30)
  })
})

describe('what is searched for only where its place gives it away', () => {
  it('is short, a user, the name of a variable, or a word of the preflight', () => {
    const redactor = redactorOf(
      { name: 'SHORT', value: 'abc12' },
      { name: 'USER', value: 'arqonbus-writer', kind: 'user' },
      { name: 'API_TOKEN', value: 'API_TOKEN' },
      { name: 'DB_PASSWORD', value: 'postgres' },
      { name: 'LONG_ENOUGH', value: 'abc123' },
    )
    const text = 'abc12 arqonbus-writer API_TOKEN postgres'
    expect(redactor.text(text)).toBe(text)
    expect(redactor.facts().structuralOnly.map(({ name }) => name)).toEqual([
      'API_TOKEN',
      'DB_PASSWORD',
      'SHORT',
      'USER',
    ])
    expect(redactor.facts().swept).toEqual(['LONG_ENOUGH'])
    const shown = redactor.text('redis://:abc12@h:1 password=postgres nats://arqonbus-writer@h')
    expect(shown).toMatch(
      /^redis:\/\/«secret:userinfo:\w+»@h:1 password=«secret:DB_PASSWORD:\w+» nats:\/\/«secret:USER:\w+»@h$/,
    )
  })
})

describe('a place where secrets stand', () => {
  const pem = (kind: string): string =>
    [`-----BEGIN ${kind}PRIVATE KEY-----`, 'MIIhunter2hunter2', `-----END ${kind}PRIVATE KEY-----`].join('\n')
  const jwt = ['eyJhbGciOiJIUzI1NiJ9', 'eyJzdWIiOiJodW50ZXIyIn0', 'hunter2hunter2'].join('.')

  it.each([
    ['NATS', 'at nats://u:hunter2@h:4222 now', 'at nats://', '@h:4222 now'],
    ['Redis without a user', 'redis://:hunter2@h', 'redis://', '@h'],
    ['Postgres without a path', 'postgres://u:hunter2@db', 'postgres://', '@db'],
    ['a token as user', 'nats://hunter2@h', 'nats://', '@h'],
    ['an @ in a password', 'amqps://u:hun@ter2@h/v', 'amqps://', '@h/v'],
    ['a slash in a password', 'postgres://u:hunter2/more@db/x', 'postgres://', '@db/x'],
    ['several hosts, each with a user', 'nats://u:hunter2@h1:1,u:hunter2@h2:2', 'nats://', '@h2:2'],
    ['a list of addresses', 'nats://u:hunter2@h1,nats://u:hunter2@h2', 'nats://', '@h2'],
    ['JSON', '{"url":"mysql://u:hunter2@h/d"}', '{"url":"mysql://', '@h/d"}'],
    ['Authorization', 'Authorization: Bearer hunter2\r\nhost: x', 'Authorization: ', '\r\nhost: x'],
    ['raw headers of Node', '["authorization","hunter2","host","x"]', '["authorization","', '","host","x"]'],
    ['escaped JSON', String.raw`{\"authorization\":\"hunter2\"}`, String.raw`{\"authorization\":\"`, String.raw`\"}`],
    ['Cookie', 'Cookie: a=hunter2; b=hunter2', 'Cookie: ', ''],
    ['Set-Cookie', 'set-cookie: sid=hunter2; HttpOnly', 'set-cookie: ', ''],
    ['a bearer token in text', 'sent Bearer hunter2hunter2 to it', 'sent Bearer ', ' to it'],
    ['a private key', `key\n${pem('')}\nend`, 'key\n', '\nend'],
    ['a private key of a kind', `${pem('RSA ')}!`, '', '!'],
    ['half a private key', '-----BEGIN EC PRIVATE KEY-----\nhunter2', '', ''],
    ['a token', `got ${jwt}, thanks`, 'got ', ', thanks'],
    ['a seed of NATS', `seed S${'UAHUNTER2'.padEnd(57, 'A')} end`, 'seed ', ' end'],
    ['a parameter', 'host=h password=hunter2 port=5', 'host=h password=', ' port=5'],
    ['a query', 'GET /x?api_key=hunter2&b=1', 'GET /x?api_key=', '&b=1'],
    ['a variable', 'export PGPASSWORD=hunter2', 'export PGPASSWORD=', ''],
    ['a field', '{"dbPassword": "hunter2", "a": 1}', '{"dbPassword": "', '", "a": 1}'],
    ['YAML', 'a: 1\n  client_secret: hunter2\nb: 2', 'a: 1\n  client_secret: ', '\nb: 2'],
    ['an option', 'tool --password hunter2 --port 1', 'tool --password ', ' --port 1'],
  ])('is emptied: %s', (_name, text, before, after) => {
    const shown = none.text(text)
    expect(shown).not.toContain('hunter2')
    expect(shown).not.toContain('UAHUNTER2')
    expect(shown).toContain('«secret:')
    expect(shown.startsWith(before)).toBe(true)
    expect(shown.endsWith(after)).toBe(true)
    // Once is enough: a second time changes nothing.
    expect(none.text(shown)).toBe(shown)
  })

  it.each([
    'nats://h:4222, redis://h:6379/0 and postgres:///x?host=/run',
    'Basic authentication was refused',
    '"js-tokens": "9.0.1", "jsonwebtoken": "8.5.1"',
    'JWT_SECRET: 23 bytes, need at least 32',
    'ARQONBUS_ALLOW_QUERY_TOKEN=true',
    'set JWT_SECRET=$(openssl rand -base64 48)',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    'someone@example.org wrote at 10:30',
    'sha256:cfd2e47443e0 S3 SUNDAY',
  ])('is told from what looks like one: %s', (text) => {
    expect(none.text(text)).toBe(text)
  })

  it('is in no text of a check: the canonical part of a report stays as it was judged', () => {
    const stopFixes = Object.values(stops).map(({ fix }) => fix)
    const checkTexts = createCatalogue().flatMap((check) => [
      check.fix,
      ...Object.values(check.hints ?? {}),
      ...check.worlds.fails.flatMap((world) => {
        const answer = world.stopped === undefined ? { facts: world.facts ?? {} } : { stopped: world.stopped }
        const result = judgeAnswer(check, answer, portsOfWorld(world))
        return result.status === 'fail' ? result.findings.map(({ fix }) => fix) : []
      }),
    ])
    const texts = [...stopFixes, ...checkTexts]
    expect(texts.length).toBeGreaterThan(30)
    for (const text of texts) expect(none.text(text)).toBe(text)
  })
})

describe('the secrets of a run', () => {
  const secretsOf = (env: Record<string, string>, files: Record<string, { text: string }> = {}): string[] =>
    knownSecrets(portsOfWorld({ name: 'w', env, files }).ctx)
      .filter(({ kind }) => kind === 'secret')
      .map(({ value }) => value)

  it.each([
    ['a secret key', { ARQONBUS_HTTP_API_KEY: 'of the admin' }, 'of the admin'],
    ['a password in an address', { ARQONBUS_POSTGRES_URL: 'postgresql://u:p%40ss@db/x' }, 'p@ss'],
    ['the same as it was written', { ARQONBUS_POSTGRES_URL: 'postgresql://u:p%40ss@db/x' }, 'p%40ss'],
    ['a token in an address', { NATS_URL: 'nats://tok@h' }, 'tok'],
    ['the second of a list', { NATS_URL: 'nats://a:one@h1,nats://b:two@h2' }, 'two'],
    ['the second host of one address', { NATS_URL: 'nats://a:one@h1,b:two@h2' }, 'two'],
    ['a parameter of an address', { ARQONBUS_POSTGRES_URL: 'postgresql://db/x?password=in-query' }, 'in-query'],
    ['a foreign variable', { STRIPE_API_KEY: 'sk_live' }, 'sk_live'],
    ['an address in a foreign variable', { CELERY_BROKER: 'amqp://u:rabbit@h' }, 'rabbit'],
    [
      'the path of a webhook',
      { HOOK: 'https://hooks.example.com/services/T00/B00/a1b2c3d4e5f6a1b2c3d4' },
      'a1b2c3d4e5f6a1b2c3d4',
    ],
  ])('are known: %s', (_name, env, value) => {
    expect(secretsOf(env)).toContain(value)
  })

  it('are known from a key file of HS256, as text and as a key set', () => {
    const env = { ARQONBUS_AUTH_JWT_KEY_FILE: 'keys' }
    expect(secretsOf(env, { keys: { text: 'one long shared secret\n' } })).toContain('one long shared secret')
    const k = Buffer.from('the second key').toString('base64url')
    const set = secretsOf(env, { keys: { text: JSON.stringify({ keys: [{ kty: 'oct', k }] }) } })
    expect(set).toEqual(expect.arrayContaining([k, 'the second key']))
  })

  it('are told by name, and what the configuration calls public is none', () => {
    expect(['DB_PASSWORD', 'X_TOKEN', 'MY_KEY', 'SENTRY_DSN'].filter(isSecretName)).toHaveLength(4)
    expect(['PWD', 'ARQONBUS_ALLOW_QUERY_TOKEN', 'TOKEN_FILE', 'HOME', 'KEYBOARD'].filter(isSecretName)).toEqual([])
  })
})
