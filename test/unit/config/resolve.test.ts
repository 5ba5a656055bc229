// Resolution of the configuration: strict parsing, aliases, layers, unknown names, all problems at once.
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { allKeys, limitKeys } from '../../../src/config/keys.ts'
import { loadBusConfig, loadShieldConfig } from '../../../src/config/load.ts'
import { foreignNames, ownPrefix, unsupportedNames } from '../../../src/config/other-names.ts'
import { printConfig } from '../../../src/config/print.ts'
import { describeSource, type Environment } from '../../../src/config/resolution.ts'
import { type ResolveOptions, resolveKeys } from '../../../src/config/resolve.ts'

const problemsOf = (env: Environment, options?: ResolveOptions): string[] =>
  resolveKeys(env, options).problems.map(({ variable, code }) => `${variable} ${code}`)

const sourceOf = (env: Environment, key: string, options?: ResolveOptions): string =>
  describeSource(resolveKeys(env, options).sources.get(key)!)

describe('the defaults', () => {
  it('are those of the contract, on loopback', () => {
    const config = loadBusConfig({})
    expect(config).toMatchObject({
      profile: 'dev',
      server: { host: '127.0.0.1', port: 9100 },
      http: { host: '127.0.0.1', port: 8080 },
      telemetry: { host: '127.0.0.1', port: 8081, enabled: true },
      auth: { enabled: false, algorithm: 'HS256', allowQueryToken: true },
      wire: { infraProtocol: 'protobuf', allowJson: true },
      storage: { mode: 'degraded', backend: 'memory', enabled: false, maxRecordsPerStream: 10_000 },
      limits: { maxMessageBytes: 1_048_576, handshakesPerSecond: 1_000, handshakesPerSecondPerAddress: 200 },
      logLevel: 'info',
    })
    expect(config.natsUrl).toBeUndefined()
    const shield = loadShieldConfig({})
    expect(shield).toMatchObject({
      server: { host: '127.0.0.1', port: 4000 },
      metrics: { host: '127.0.0.1', port: 9090 },
      auth: { enabled: true, allowQueryToken: false },
      schemaStrict: true,
      limits: { maxMessageBytes: 65_536 },
    })
    expect(shield.natsUrl?.reveal()).toBe('nats://127.0.0.1:4222')
  })

  it.each(['staging', 'prod'])('ask for tokens and protobuf in %s', (profile) => {
    const config = loadBusConfig({ ARQONBUS_ENVIRONMENT: profile })
    expect(config.auth.enabled).toBe(true)
    expect(config.wire.allowJson).toBe(false)
    expect(config.limits.maxConnectionsPerSubject).toBe(20)
  })

  it('lie within their own bounds and caps', () => {
    for (const limit of limitKeys) {
      const value = limit.fallback('prod')
      expect(value, limit.names[0]).toBeGreaterThanOrEqual(limit.spec.min)
      expect(value, limit.names[0]).toBeLessThanOrEqual(limit.cap ?? Number.POSITIVE_INFINITY)
    }
  })

  it('give a frozen object all the way down', () => {
    const config = loadBusConfig({ JWT_SECRET: 'x'.repeat(40) })
    for (const part of [config, config.limits, config.auth, config.storage, config.allowedOrigins]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
  })
})

describe('parsing', () => {
  it.each([
    ['true', true],
    ['TRUE', true],
    ['1', true],
    ['False', false],
    ['0', false],
  ])('takes the boolean %s', (text, value) => {
    expect(loadBusConfig({ ARQONBUS_ENABLE_PERSISTENCE: text }).storage.enabled).toBe(value)
  })

  it.each([
    ['yes', 'NOT_A_BOOLEAN'],
    ['on', 'NOT_A_BOOLEAN'],
    ['2', 'NOT_A_BOOLEAN'],
    ['', 'BLANK'],
    ['  ', 'BLANK'],
    ['true ', 'SURROUNDING_SPACE'],
    ['\ttrue', 'SURROUNDING_SPACE'],
    ['true\n', 'TRAILING_NEWLINE'],
  ])('refuses the boolean %j', (text, code) => {
    expect(problemsOf({ ARQONBUS_ENABLE_PERSISTENCE: text })).toEqual([`ARQONBUS_ENABLE_PERSISTENCE ${code}`])
  })

  it.each([
    ['9100abc', 'NOT_AN_INTEGER'],
    ['0x1F90', 'NOT_AN_INTEGER'],
    ['1e3', 'NOT_AN_INTEGER'],
    ['-1', 'NOT_AN_INTEGER'],
    ['80.0', 'NOT_AN_INTEGER'],
    ['٣', 'NOT_AN_INTEGER'],
    ['65536', 'OUT_OF_RANGE'],
    ['99999999999999999999', 'NOT_AN_INTEGER'],
    ['', 'BLANK'],
  ])('refuses the port %j', (text, code) => {
    expect(problemsOf({ ARQONBUS_SERVER_PORT: text })).toEqual([`ARQONBUS_SERVER_PORT ${code}`])
  })

  it.each(['in.t.acme.raw', 'in.t..raw:1', 'in.t.a b.raw:1', 'a.>.b:1', 'a:1.5', 'a:-1', 'a:.5', 'a:1:1', ':1', 'a:'])(
    'refuses the mirror rule %j',
    (text) => {
      expect(problemsOf({ SHIELD_MIRROR_RULES: `in.t.*.raw:0.5,${text}` })).toEqual([
        'SHIELD_MIRROR_RULES NOT_A_MIRROR_RULE',
      ])
    },
  )

  it.each([
    ['SHIELD_POLICY_SHA256', `p:${'a'.repeat(63)}`, 'NOT_A_PIN'],
    ['SHIELD_POLICY_SHA256', 'a'.repeat(64), 'NOT_A_PIN'],
    ['SHIELD_POLICY_SHA256', '', 'BLANK'],
    ['SHIELD_POLICY_SHA256', `a/p:${'a'.repeat(64)}`, 'NOT_A_PIN'],
    ['SHIELD_SCHEMA_SHA256', `${'a'.repeat(63)}g`, 'NOT_A_SHA256'],
    ['SHIELD_MIRROR_SECRET_FIELDS', 'password,user.*', 'NOT_A_NAME'],
    ['SHIELD_MIRROR_SECRET_FIELDS', 'password,-_-', 'NOT_A_NAME'],
    ['ARQONBUS_CASIL_REDACTION_PATHS', 'a b', 'NOT_A_NAME'],
  ])('refuses %s=%s', (name, text, code) => {
    expect(problemsOf({ [name]: text })).toEqual([`${name} ${code}`])
  })

  it('takes hex in either case, and secret fields under either name', () => {
    const { values } = resolveKeys({
      SHIELD_POLICY_SHA256: `P:${'AB'.repeat(32)}`,
      SHIELD_SCHEMA_SHA256: 'CD'.repeat(32),
      ARQONBUS_CASIL_REDACTION_PATHS: 'password,Tax_Number',
    })
    expect(values.policySha256).toEqual([`P:${'ab'.repeat(32)}`])
    expect(values.shieldSchemaSha256).toBe('cd'.repeat(32))
    expect(values.mirrorSecretFields).toEqual(['password', 'Tax_Number'])
    // A name that is nearly right must not leave everything unpinned.
    expect(problemsOf({ SHIELD_POLICIES_SHA256: 'x' })).toEqual(['SHIELD_POLICIES_SHA256 UNKNOWN_NAME'])
  })

  it('wants the folder of schemas and its switch together', () => {
    expect(problemsOf({ SHIELD_SCHEMA_SOURCE: 'folder' })).toEqual(['SHIELD_SCHEMA_DIR MISSING'])
    expect(problemsOf({ SHIELD_SCHEMA_DIR: 'x' })).toEqual(['SHIELD_SCHEMA_SOURCE CONFLICT'])
    expect(problemsOf({ SHIELD_SCHEMA_SOURCE: 'nats', SHIELD_SCHEMA_DIR: 'x' })).toEqual([
      'SHIELD_SCHEMA_SOURCE CONFLICT',
    ])
    expect(problemsOf({ SHIELD_SCHEMA_SOURCE: 'folder', SHIELD_SCHEMA_DIR: 'x' })).toEqual([])
  })

  it('says of a secret only that it is there and how long it is', () => {
    const [problem] = resolveKeys({ JWT_SECRET: 'hunter-two-hunter-two-hunter-two\n' }).problems
    expect(problem).toMatchObject({ code: 'TRAILING_NEWLINE', fix: 'remove the newline (printf instead of echo)' })
    expect(JSON.stringify(problem)).not.toContain('hunter')
  })

  it('hides what looks like a secret in a variable that holds none', () => {
    for (const text of ['redis://:hunter-two@cache:6379', '-----BEGIN PRIVATE KEY-----\nhunter-two']) {
      const { problems } = resolveKeys({ ARQONBUS_VALKEY_HOST: text })
      expect(problems).toHaveLength(1)
      expect(JSON.stringify(problems)).not.toContain('hunter')
    }
  })

  it('shows no control characters of values or names', () => {
    const { problems } = resolveKeys({ ARQONBUS_SERVER_PORT: '\u001b[2J1', 'ARQONBUS_\u001b[2J': 'x' })
    expect(problems).toHaveLength(2)
    for (const { variable, found } of problems) expect(variable + found).toMatch(/^[ -~]+$/)
  })

  it('takes a list without trimming its items, and an empty one', () => {
    expect(loadBusConfig({ ARQONBUS_ALLOWED_ORIGINS: '' }).allowedOrigins).toEqual([])
    const origins = ['https://a.example.com', 'http://localhost:5173']
    expect(loadBusConfig({ ARQONBUS_ALLOWED_ORIGINS: origins.join(',') }).allowedOrigins).toEqual(origins)
    expect(problemsOf({ ARQONBUS_ALLOWED_ORIGINS: 'https://a.example.com, https://b.example.com' })).toEqual([
      'ARQONBUS_ALLOWED_ORIGINS SURROUNDING_SPACE',
    ])
    expect(problemsOf({ ARQONBUS_ALLOWED_ORIGINS: 'https://a.example.com/' })).toEqual([
      'ARQONBUS_ALLOWED_ORIGINS NOT_AN_ORIGIN',
    ])
  })

  it.each([
    ['redis_streams', 'valkey'],
    ['Valkey', 'valkey'],
    ['postgresql', 'postgres'],
    ['memory_storage', 'memory'],
    ['embedded', 'embedded'],
  ])('takes the backend %s for %s', (text, backend) => {
    expect(loadBusConfig({ ARQONBUS_STORAGE_BACKEND: text }).storage.backend).toBe(backend)
  })

  it('never throws and never loses a problem, whatever the values are', () => {
    const names = allKeys.flatMap((spec) => spec.names)
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), fc.string()), (env) => {
        const resolution = resolveKeys(env)
        const wrong = Object.keys(env).filter((name) => {
          const spec = allKeys.find(({ names: known }) => known.includes(name))!
          return !spec.reader.parse(env[name]!, name).ok
        })
        const named = new Set(resolution.problems.map(({ variable }) => variable))
        // An alias that loses against its twin is not parsed; then the pair is what is wrong.
        const judged = wrong.filter((name) =>
          allKeys.every((spec) => !spec.names.includes(name) || spec.names[0] === name),
        )
        for (const name of judged) expect(named).toContain(name)
      }),
    )
  })
})

describe('aliases', () => {
  it('stand for each other', () => {
    const env = { ARQONBUS_STORAGE_BACKEND: 'redis', ARQONBUS_REDIS_URL: 'redis://cache:6379' }
    expect(loadBusConfig(env).storage.valkeyUrl?.reveal()).toBe('redis://cache:6379')
    expect(sourceOf(env, 'valkeyUrl')).toBe('env ARQONBUS_REDIS_URL')
  })

  it('may both be set to the same, not to different values', () => {
    const url = 'redis://cache:6379'
    expect(problemsOf({ ARQONBUS_REDIS_URL: url, ARQONBUS_VALKEY_URL: url })).toEqual([])
    const [problem] = resolveKeys({ ARQONBUS_REDIS_URL: url, ARQONBUS_VALKEY_URL: `${url}/1` }).problems
    expect(problem).toMatchObject({ variable: 'ARQONBUS_VALKEY_URL', code: 'AMBIGUOUS' })
    expect(problem?.fix).toBe('keep one of ARQONBUS_VALKEY_URL and ARQONBUS_REDIS_URL')
  })

  it('build an address from its parts, with the password encoded', () => {
    const { storage } = loadBusConfig({
      ARQONBUS_STORAGE_BACKEND: 'valkey',
      ARQONBUS_VALKEY_HOST: 'cache',
      ARQONBUS_REDIS_PASSWORD: 'p@ss/word',
      ARQONBUS_VALKEY_SSL: 'true',
    })
    expect(storage.valkeyUrl?.reveal()).toBe('rediss://:p%40ss%2Fword@cache:6379/0')
  })
})

describe('layers', () => {
  const file = 'ARQONBUS_SERVER_PORT=9200\n# a comment\n\nARQONBUS_LOG_LEVEL=warn\nJWT_SKIP_VALIDATION=\n'
  const options = {
    readFile: () => file,
    overlay: { ARQONBUS_STORAGE_BACKEND: 'embedded', ARQONBUS_LOG_LEVEL: 'debug' },
  }

  it('let the environment win over the file, the file over the overlay, the overlay over the default', () => {
    const env = { ARQONBUS_CONFIG_FILE: 'arqonbus.env', ARQONBUS_SERVER_PORT: '9300' }
    expect(loadBusConfig(env, options.overlay, options)).toMatchObject({
      server: { port: 9300 },
      logLevel: 'warn',
      storage: { backend: 'embedded' },
      http: { port: 8080 },
    })
    expect(['serverPort', 'logLevel', 'storageBackend', 'httpPort'].map((key) => sourceOf(env, key, options))).toEqual([
      'env ARQONBUS_SERVER_PORT',
      'file ARQONBUS_LOG_LEVEL',
      'profile up',
      'default',
    ])
  })

  it('let one name in the environment win over its alias in the file, without a quarrel', () => {
    const readFile = (): string => 'ARQONBUS_VALKEY_URL=redis://of-the-file:1\n'
    const env = { ARQONBUS_CONFIG_FILE: 'x', ARQONBUS_REDIS_URL: 'redis://of-the-environment:1' }
    const resolution = resolveKeys(env, { readFile })
    expect(resolution.problems).toEqual([])
    expect(resolution.values.valkeyUrl?.reveal()).toBe('redis://of-the-environment:1')
  })

  it('show the file’s presence-only names to the rules', () => {
    const { given } = resolveKeys({ ARQONBUS_CONFIG_FILE: 'x' }, options)
    expect(given.get('JWT_SKIP_VALIDATION')).toMatchObject({ text: '', source: { kind: 'file' } })
  })

  it('refuse a file with broken lines, names given twice, and names nobody reads', () => {
    const readFile = (): string => 'no equals sign\nARQONBUS_LOG_LEVEL=info\nARQONBUS_LOG_LEVEL=warn\nHOME=/root\n'
    expect(problemsOf({ ARQONBUS_CONFIG_FILE: 'x' }, { readFile })).toEqual([
      'ARQONBUS_CONFIG_FILE NOT_AN_ASSIGNMENT',
      'ARQONBUS_CONFIG_FILE GIVEN_TWICE',
      'HOME UNKNOWN_NAME',
    ])
  })

  it('say which system error a file had', () => {
    const [problem] = resolveKeys({ ARQONBUS_CONFIG_FILE: '/nowhere/x' }).problems
    expect(problem).toMatchObject({ code: 'FILE_UNREADABLE' })
    expect(problem?.found).toContain('ENOENT')
  })
})

describe('names', () => {
  it.each([
    ['ARQONBUS_STORAGE_MOD', 'did you mean ARQONBUS_STORAGE_MODE? otherwise remove it'],
    ['SHIELD_PROT', 'did you mean SHIELD_PORT? otherwise remove it'],
    ['ARQON_SCHEMA_STRCIT', 'did you mean ARQON_SCHEMA_STRICT? otherwise remove it'],
    ['ARQONBUS_XYZZY_PLUGH_QUUX_FROBNICATE_IT', 'remove it'],
  ])('are refused when nobody knows them: %s', (name, fix) => {
    const [problem] = resolveKeys({ [name]: 'x' }).problems
    expect(problem).toMatchObject({ variable: name, code: 'UNKNOWN_NAME', fix })
  })

  it('of other prefixes and of other programs are left alone', () => {
    expect(problemsOf({ PATH: '/bin', ARQONBUS_WS_URL: 'ws://x', ARQONBUS_HELLO_ROOM: 'lab' })).toEqual([])
  })

  it('that are not supported warn, and are refused in prod where they would switch something on', () => {
    const env = {
      ARQONBUS_CASIL_ENABLED: 'true',
      ARQONBUS_OMEGA_ENABLED: 'false',
      ARQONBUS_OPERATOR_AUTH_TOKEN: 'any',
    }
    expect(resolveKeys(env).problems).toEqual([])
    expect(resolveKeys(env).warnings).toHaveLength(3)
    expect(problemsOf({ ...env, ARQONBUS_ENVIRONMENT: 'prod' })).toEqual([
      'ARQONBUS_CASIL_ENABLED NOT_SUPPORTED',
      'ARQONBUS_OPERATOR_AUTH_TOKEN NOT_SUPPORTED',
    ])
  })

  it('belong to one list only', () => {
    const names = [...allKeys.flatMap((spec) => spec.names), ...unsupportedNames.keys(), ...foreignNames]
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
    expect(limitKeys.every((limit) => ownPrefix.test(limit.names[0]))).toBe(true)
  })
})

describe('loading', () => {
  it('throws one error that lists every problem, a line each', () => {
    const env = { ARQONBUS_SERVER_PORT: 'x', ARQONBUS_STORAGE_MOD: 'strict', JWT_SECRET: 'secret-value ' }
    let thrown: unknown
    try {
      loadBusConfig(env)
    } catch (error) {
      thrown = error
    }
    if (!isBusError(thrown, 'CONFIG_INVALID')) throw new Error('nothing was thrown')
    expect(thrown.details['problems']).toHaveLength(3)
    expect(thrown.message.split('\n')).toHaveLength(4)
    expect(inspect(thrown)).not.toContain('secret-value')
  })

  it('asks each program for its own variables only', () => {
    expect(() => loadBusConfig({ SHIELD_PORT: 'x' })).not.toThrow()
    expect(() => loadShieldConfig({ SHIELD_PORT: 'x' })).toThrow()
    expect(() => loadShieldConfig({ ARQONBUS_HTTP_PORT: 'x' })).not.toThrow()
  })

  it('refuses half a certificate and a key pair without its key', () => {
    expect(problemsOf({ SHIELD_TLS_CERT_FILE: '/c.pem' })).toEqual(['SHIELD_TLS_KEY_FILE MISSING'])
    expect(problemsOf({ ARQONBUS_AUTH_JWT_ALGORITHM: 'es256' })).toEqual(['ARQONBUS_AUTH_JWT_KEY_FILE MISSING'])
  })
})

describe('printing', () => {
  it('shows every key once, with its source and no secret', () => {
    const rows = printConfig(
      resolveKeys({
        JWT_SECRET: 'hunter-two',
        ARQONBUS_POSTGRES_URL: 'postgresql://u:hunter-two@db:5432,db2/x?password=hunter-two',
      }),
    )
    expect(rows).toHaveLength(allKeys.length)
    expect(JSON.stringify(rows)).not.toContain('hunter')
    expect(rows).toContainEqual({
      key: 'JWT_SECRET',
      value: '[secret]',
      source: 'env JWT_SECRET',
      programs: ['bus', 'shield'],
    })
    expect(rows.find(({ key }) => key === 'ARQONBUS_POSTGRES_URL')?.value).toBe('postgresql://db:5432,db2')
  })
})
