// Sources of the start environment, over files that are made up: grammars, layers, and what is refused.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: such braces are what is read here
import { describe, expect, it } from 'vitest'
import { BusError } from '../../../src/base/errors.ts'
import { nodeFlagsOf, unlisted } from '../../../src/preflight/env-from/node-flags.ts'
import { readStartEnvironment, startInputs } from '../../../src/preflight/env-from/start-environment.ts'
import type { SourceFiles, StartEnvironment } from '../../../src/preflight/env-from/variables.ts'

const secret = 'do-not-show-7f3c9a1e'

function filesOf(texts: Readonly<Record<string, string>>): SourceFiles {
  return {
    read(path) {
      const text = texts[path]
      if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
      return text
    },
    list: (folder) =>
      Object.keys(texts)
        .filter((path) => path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes('/'))
        .map((path) => path.slice(folder.length + 1))
        .sort(),
  }
}

const read = (
  spec: string,
  texts: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): StartEnvironment => readStartEnvironment(spec, { env, files: filesOf(texts) })

const valuesOf = ({ variables }: StartEnvironment): Record<string, string> =>
  Object.fromEntries([...variables].map(([name, { text }]) => [name, text]))

/** What a call is refused with: reason and words. */
function refusal(run: () => unknown): { readonly reason: unknown; readonly words: string } {
  try {
    run()
  } catch (error) {
    if (!(error instanceof BusError)) throw error
    expect(error.code).toBe('USAGE')
    expect(error.message).not.toContain(secret)
    return { reason: error.details['reason'], words: error.message }
  }
  throw new Error('it was not refused')
}

describe('a source', () => {
  it.each(['', 'file', 'file:', 'nowhere:x', 'constructor:x', 'process:1', ':x'])('is not %j', (spec) => {
    expect(refusal(() => read(spec, {})).reason).toBe('BAD_ENV_SOURCE')
  })

  it('process is the shell as it is', () => {
    const { variables } = read('process', {}, { A: '1' })
    expect([...variables]).toEqual([['A', { text: '1', where: 'process', shadows: [] }]])
  })

  it('tells which variables of ours the shell says something else of, and nothing of others', () => {
    const files = filesOf({ '/e': `JWT_SECRET=${secret}\nARQONBUS_SERVER_PORT=1\nPATH=/a\nARQONBUS_HTTP_PORT=2\n` })
    const shell = {
      PATH: '/b',
      ARQONBUS_SERVER_PORT: '9100',
      ARQONBUS_HTTP_PORT: '2',
      JWT_SKIP_VALIDATION: '',
      HOME: '/',
    }
    const { env, envSource } = startInputs('file:/e', { env: shell, files })
    expect(env['ARQONBUS_SERVER_PORT']).toBe('1')
    expect(env['JWT_SKIP_VALIDATION']).toBeUndefined()
    expect(envSource.drift).toEqual(['ARQONBUS_SERVER_PORT', 'JWT_SECRET', 'JWT_SKIP_VALIDATION'])
    expect(envSource.where?.get('ARQONBUS_HTTP_PORT')).toBe('/e:4')
    expect(JSON.stringify(envSource)).not.toContain(secret)
  })

  it('is the shell where none is named, and says that nobody named it', () => {
    expect(startInputs(undefined, { env: { A: '1' } })).toEqual({
      env: { A: '1' },
      envSource: { name: 'process', isGiven: false, drift: [], shadowed: [] },
    })
    const { envSource } = startInputs('process', { env: { A: '1' } })
    expect(envSource).toMatchObject({ name: 'process', isGiven: true, drift: [] })
    expect(envSource.where).toBeUndefined()
  })
})

describe('file:', () => {
  it('reads NAME=VALUE as it stands, with lines, CRLF and a byte order mark', () => {
    const source = read('file:/e', { '/e': '\uFEFF# note\r\nA=1\r\n\r\nB="2"  \nC=a=b\n' })
    expect(valuesOf(source)).toEqual({ A: '1', B: '"2"  ', C: 'a=b' })
    expect(source.variables.get('B')?.where).toBe('/e:4')
  })

  it.each([
    ['an export prefix', `export A=${secret}`],
    ['a name given twice', `A=1\nA=${secret}`],
    ['space around the name', ` A =${secret}`],
    ['a word', secret],
  ])('refuses %s, without its content', (_name, text) => {
    expect(refusal(() => read('file:/e', { '/e': text }))).toMatchObject({ reason: 'BAD_ENV_SOURCE' })
  })

  it('names a file that is not there', () => {
    const { reason, words } = refusal(() => read('file:/none', {}))
    expect(reason).toBe('ENV_SOURCE_UNREADABLE')
    expect(words).toContain('/none')
    expect(words).toContain('no such file')
  })
})

const unitPath = '/etc/systemd/system/arqonbus.service'
const unitOf = (service: string): Record<string, string> => ({
  [unitPath]: `[Unit]\nDescription=x\n[Service]\n${service}\n`,
})

describe('systemd:', () => {
  it.each([
    ['several in one line', 'Environment=A=1 B=2', { A: '1', B: '2' }],
    ['quotes around the whole', `Environment="A=one two" 'B=it is' C=3`, { A: 'one two', B: 'it is', C: '3' }],
    ['quotes inside', 'Environment=A="one two"', { A: 'one two' }],
    ['a quote inside the other', `Environment="A=it's"`, { A: "it's" }],
    ['escapes', String.raw`Environment="A=a\tb\"c\\d\x41\u00e4\101" B=one\stwo`, { A: 'a\tb"c\\dAäA', B: 'one two' }],
    ['an empty value', 'Environment=A= "B="', { A: '', B: '' }],
    ['an equals sign', 'Environment=A=b=c', { A: 'b=c' }],
    ['a dollar sign, which is a letter', 'Environment=A=$HOME', { A: '$HOME' }],
    ['specifiers', 'Environment=A=%n:%N:%p:100%%', { A: 'arqonbus.service:arqonbus:arqonbus:100%' }],
    [
      'continued lines, with a comment between',
      'Environment=A=1 \\\n  B=2 \\\n# no\n; no\n  C=3',
      { A: '1', B: '2', C: '3' },
    ],
    ['CRLF', 'Environment=A=1\r\nEnvironment=B=2\r', { A: '1', B: '2' }],
    ['space around the equals sign', 'Environment = A=1', { A: '1' }],
    ['the later one', 'Environment=A=1\nEnvironment=A=2', { A: '2' }],
    ['an empty one, which forgets', 'Environment=A=1\nEnvironment=\nEnvironment=B=2', { B: '2' }],
    ['a name taken away', 'Environment=A=1 B=2\nUnsetEnvironment=A', { B: '2' }],
    ['a name taken away with its value only', 'Environment=A=1 B=2\nUnsetEnvironment=A=2 B=2', { A: '1' }],
    ['names taken away by an assignment before it', 'UnsetEnvironment=A\nEnvironment=A=1', {}],
    ['a setting of another section', 'Environment=A=1\n[Install]\nEnvironment=B=2', { A: '1' }],
  ])('reads %s', (_name, service, expected) => {
    expect(valuesOf(read('systemd:arqonbus.service', unitOf(service)))).toEqual(expected)
  })

  it.each([
    ['a quote without an end', `Environment="A=${secret}`],
    ['an escape that means nothing', `Environment=A=\\q${secret}`],
    ['an escape of a zero byte', `Environment=A=\\x00${secret}`],
    ['a word that is no assignment', `Environment=A=one ${secret}`],
    ['a name that is none', `Environment=A-B=${secret}`],
    ['a specifier that only systemd knows', `Environment=A=%H${secret}`],
    ['a percent sign at the end', `Environment=A=${secret}%`],
    ['a line without an equals sign', `Environment ${secret}`],
    ['a relative path', 'EnvironmentFile=env'],
    ['an environment file that is not there', 'EnvironmentFile=/etc/none'],
    ['a pattern that matches nothing', 'EnvironmentFile=/etc/none*'],
    ['a manager whose environment cannot be read', 'PassEnvironment=A'],
  ])('refuses %s, without its content and with its line', (_name, service) => {
    expect(refusal(() => read('systemd:arqonbus', unitOf(service))).words).toContain(`${unitPath}:4`)
  })

  it('puts manager, passed, own and file variables over each other, in that order, and says what they hide', () => {
    const source = read('systemd:arqonbus', {
      ...unitOf(
        'Environment=A=own B=own\nPassEnvironment=A D NONE\nEnvironmentFile=/etc/default/a\nEnvironmentFile=-/no',
      ),
      '/etc/default/a': 'A=file\n',
      '/etc/systemd/system.conf': '[Manager]\nDefaultEnvironment=A=manager M=1\n',
      '/etc/systemd/system.conf.d/9.conf': '[Manager]\nDefaultEnvironment=N=2\n',
      '/proc/1/environ': 'A=passed\0D=4\0',
    })
    expect(valuesOf(source)).toEqual({ A: 'file', B: 'own', D: '4', M: '1', N: '2' })
    expect(source.variables.get('A')).toEqual({
      text: 'file',
      where: '/etc/default/a:1',
      shadows: ['/etc/systemd/system.conf:2', `${unitPath}:5`, `${unitPath}:4`],
    })
  })

  it('applies drop-ins in the order of their names, of each name the first folder, and names the winner', () => {
    const source = read('systemd:arqonbus', {
      ...unitOf('Environment=A=unit'),
      [`${unitPath}.d/20-b.conf`]: '[Service]\nEnvironment=A=twenty\n',
      [`${unitPath}.d/10-a.conf`]: '[Service]\nEnvironment=A=ten B=ten\n',
      [`${unitPath}.d/notes.txt`]: 'not read',
      '/usr/lib/systemd/system/arqonbus.service.d/20-b.conf': '[Service]\nEnvironment=A=masked\n',
      '/usr/lib/systemd/system/arqonbus.service.d/05-c.conf': '[Service]\nEnvironment=A=five B=five C=five\n',
      '/etc/systemd/system/service.d/99-all.conf': '[Service]\nEnvironment=D=all\n',
    })
    expect(valuesOf(source)).toEqual({ A: 'twenty', B: 'ten', C: 'five', D: 'all' })
    expect(source.variables.get('A')).toMatchObject({
      where: `${unitPath}.d/20-b.conf:2`,
      shadows: [`${unitPath}:4`, '/usr/lib/systemd/system/arqonbus.service.d/05-c.conf:2', `${unitPath}.d/10-a.conf:2`],
    })
  })

  it('reads instances from their template, and drop-ins of shortened names', () => {
    const source = read('systemd:arqon-bus@blue', {
      '/usr/lib/systemd/system/arqon-bus@.service':
        '[Service]\nEnvironment=A=%i:%I:%p:%j\nExecStart=-/bin/node "a b" %i\n',
      '/etc/systemd/system/arqon-bus@.service.d/1.conf': '[Service]\nEnvironment=B=template\n',
      '/etc/systemd/system/arqon-bus@blue.service.d/2.conf': '[Service]\nEnvironment=C=instance\n',
      '/etc/systemd/system/arqon-.service.d/3.conf': '[Service]\nEnvironment=D=prefix\n',
      // Of one name: that of the unit itself, before its template, before the shortened one, before all services.
      '/etc/systemd/system/arqon-.service.d/2.conf': '[Service]\nEnvironment=E=not-read\n',
      '/etc/systemd/system/service.d/3.conf': '[Service]\nEnvironment=F=not-read\n',
    })
    expect(valuesOf(source)).toEqual({ A: 'blue:blue:arqon-bus:bus', B: 'template', C: 'instance', D: 'prefix' })
    expect(source.argv).toEqual(['/bin/node', 'a b', 'blue'])
  })

  it('takes the longest of shortened names first', () => {
    const source = read('systemd:a-b-c', {
      '/etc/systemd/system/a-b-c.service': '[Service]\n',
      '/etc/systemd/system/a-.service.d/1.conf': '[Service]\nEnvironment=A=short\n',
      '/etc/systemd/system/a-b-.service.d/1.conf': '[Service]\nEnvironment=A=long\n',
    })
    expect(valuesOf(source)).toEqual({ A: 'long' })
  })

  it('takes the file of /etc over that of /usr/lib, and refuses a masked unit and one that is not there', () => {
    const lower = { '/usr/lib/systemd/system/arqonbus.service': '[Service]\nEnvironment=A=lower\n' }
    expect(valuesOf(read('systemd:arqonbus', { ...lower, ...unitOf('Environment=A=upper') }))).toEqual({ A: 'upper' })
    expect(refusal(() => read('systemd:arqonbus', { ...lower, [unitPath]: '' })).words).toContain('masked')
    expect(refusal(() => read('systemd:other', lower)).words).toContain('other.service')
    expect(refusal(() => read('systemd:../../etc/passwd', lower)).reason).toBe('BAD_ENV_SOURCE')
    expect(refusal(() => read('systemd:a.socket', lower)).reason).toBe('BAD_ENV_SOURCE')
  })

  it.each([
    ['quotes of both kinds', `A="one two"\nB='it "is"'\n`, { A: 'one two', B: 'it "is"' }],
    ['pieces with quotes, one after the other', `A='one'"two"three\n`, { A: 'onetwothree' }],
    ['quotes inside, which are letters', `A=it's "so"\n`, { A: `it's "so"` }],
    ['a mark of a comment inside, which is a letter', 'A=one # two\n', { A: 'one # two' }],
    ['comments of both kinds', '# A=1\n; B=2\n  # C=3\nD=4\n', { D: '4' }],
    ['a continued comment', '# A=1 \\\nB=2\nC=3\n', { C: '3' }],
    ['continued lines', 'A=one\\\ntwo\nB="one\\\ntwo"\n', { A: 'onetwo', B: 'onetwo' }],
    ['a newline inside quotes', `A="one\ntwo"\nB='one\ntwo'\n`, { A: 'one\ntwo', B: 'one\ntwo' }],
    ['escapes', 'A=a\\"b\\ \nB="\\$x \\q \\\\"\n', { A: 'a"b ', B: '$x \\q \\' }],
    ['space at the ends', '  A  =  one  \n', { A: 'one' }],
    ['the later one', 'A=1\nA=2\n', { A: '2' }],
    ['CRLF, an empty value, no end of the last line', 'A=\r\nB=1', { A: '', B: '1' }],
  ])('reads an EnvironmentFile with %s', (_name, text, expected) => {
    const source = read('systemd:arqonbus', { ...unitOf('EnvironmentFile=/etc/default/a'), '/etc/default/a': text })
    expect(valuesOf(source)).toEqual(expected)
  })

  it.each([
    ['an export prefix', `B=1\nexport A=${secret}\n`],
    ['a word', `B=1\n${secret}\n`],
    ['a quote without an end', `B=1\nA="${secret}\n`],
  ])('refuses an EnvironmentFile with %s', (_name, text) => {
    const files = { ...unitOf('EnvironmentFile=/etc/default/a'), '/etc/default/a': text }
    expect(refusal(() => read('systemd:arqonbus', files)).words).toContain('/etc/default/a:2')
  })

  it('takes every file of a pattern, and forgets those before an empty one', () => {
    const files = {
      ...unitOf('EnvironmentFile=/etc/default/none\nEnvironmentFile=\nEnvironmentFile=/etc/default/arqon[!c]*'),
      '/etc/default/arqona': 'A=1\nB=1\n',
      '/etc/default/arqonb': 'A=2\n',
      '/etc/default/arqonc': 'A=3\n',
    }
    expect(valuesOf(read('systemd:arqonbus', files))).toEqual({ A: '2', B: '1' })
  })
})

describe('compose:', () => {
  const compose = (service: string): Record<string, string> => ({
    '/app/compose.yaml': `services:\n  bus:\n${service.replaceAll(/^/gm, '    ')}\n`,
  })

  it.each([
    [
      'a map',
      'environment:\n  A: one\n  B: "2"\n  C: 3\n  D: true\n  E: ""',
      { A: 'one', B: '2', C: '3', D: 'true', E: '' },
    ],
    ['a list', 'environment:\n  - A=one two\n  - B=a=b\n  - C=', { A: 'one two', B: 'a=b', C: '' }],
    [
      'names taken over from the shell',
      'environment:\n  - SHELL_ONE\n  - NONE\n  - FROM_FILE',
      { SHELL_ONE: 's', FROM_FILE: 'f' },
    ],
    ['empty keys taken over from the shell', 'environment:\n  SHELL_ONE:\n  NONE:', { SHELL_ONE: 's' }],
    ['the shell over .env', 'environment:\n  A: ${BOTH}', { A: 'shell' }],
    [
      'defaults',
      'environment:\n  A: ${NONE:-d}\n  B: ${EMPTY:-d}\n  C: ${EMPTY-d}\n  D: ${NONE-${SHELL_ONE}}\n  E: ${SHELL_ONE:+yes}\n  F: ${NONE+no}',
      { A: 'd', B: 'd', C: '', D: 's', E: 'yes', F: '' },
    ],
    ['dollar signs', 'environment:\n  A: $$HOME\n  B: $SHELL_ONE/x\n  C: ${NONE}', { A: '$HOME', B: 's/x', C: '' }],
    ['nothing', 'image: x', {}],
    ['anchors and merged maps', 'x: &x\n  A: 1\n  B: 1\nenvironment:\n  <<: *x\n  B: 2', { A: '1', B: '2' }],
  ])('reads %s', (_name, service, expected) => {
    const files = { ...compose(service), '/app/.env': '# c\nFROM_FILE=f\nBOTH=file\n' }
    expect(
      valuesOf(read('compose:/app/compose.yaml#bus', files, { SHELL_ONE: 's', BOTH: 'shell', EMPTY: '' })),
    ).toEqual(expected)
  })

  it('puts environment over env_file and later files over earlier ones, with the line of each', () => {
    const source = read('compose:/app/compose.yaml', {
      ...compose(
        'env_file:\n  - a.env\n  - path: /b.env\n  - path: none.env\n    required: false\nenvironment:\n  A: own',
      ),
      '/app/a.env': 'A=a\nB=a\n',
      '/b.env': 'B=b\n',
    })
    expect(valuesOf(source)).toEqual({ A: 'own', B: 'b' })
    expect(source.variables.get('A')).toEqual({ text: 'own', where: '/app/compose.yaml:9', shadows: ['/app/a.env:1'] })
    expect(source.variables.get('B')).toMatchObject({ where: '/b.env:1', shadows: ['/app/a.env:2'] })
  })

  it.each([
    ['an export prefix', 'export A=1', { A: '1' }],
    ['quotes', `A="one # two" # note\nB='$X'\nC=it's`, { A: 'one # two', B: '$X', C: "it's" }],
    ['a comment after a value', 'A=one # two\nB=#x\nC=a#b', { A: 'one', B: '', C: 'a#b' }],
    ['escapes in double quotes', String.raw`A="a\nb\"c\$d"`, { A: 'a\nb"c$d' }],
    ['values that use earlier ones', 'A=1\nB=${A}2\nC="$B"', { A: '1', B: '12', C: '12' }],
    ['several lines in quotes', 'A="one\ntwo"\nB=3', { A: 'one\ntwo', B: '3' }],
    ['CRLF, blank lines, space', '\r\nA=1\r\n\r\n  B = 2 \r\n', { A: '1', B: '2' }],
    ['the later one', 'A=1\nA=2', { A: '2' }],
    ['a name of the shell', 'SHELL_ONE\nNONE', { SHELL_ONE: 's' }],
  ])('reads an env_file with %s', (_name, text, expected) => {
    const files = { ...compose('env_file: a.env'), '/app/a.env': text }
    expect(valuesOf(read('compose:/app/compose.yaml', files, { SHELL_ONE: 's' }))).toEqual(expected)
  })

  it('reads a raw env_file as it stands', () => {
    const files = { ...compose('env_file:\n  - path: a.env\n    format: raw'), '/app/a.env': '# c\nA="$B" # x\r\n' }
    expect(valuesOf(read('compose:/app/compose.yaml', files))).toEqual({ A: '"$B" # x' })
  })

  it.each([
    ['no such service', '#web', compose('image: x'), 'bus'],
    ['a file that is no YAML', '', { '/app/compose.yaml': `a: [${secret}` }, '/app/compose.yaml:1'],
    ['a key given twice', '', compose(`environment:\n  A: ${secret}\n  A: 2`), '/app/compose.yaml:5'],
    ['extends', '', compose('extends:\n  service: x'), 'docker compose config'],
    ['include', '', { '/app/compose.yaml': 'include: [a.yaml]\nservices:\n  bus: {}\n' }, 'docker compose config'],
    ['a variable that has to be there', '', compose('environment:\n  A: ${NONE:?}'), 'NONE'],
    ['braces without an end', '', compose(`environment:\n  A: "\${NONE${secret}"`), '/app/compose.yaml:4'],
    ['an env_file that is not there', '', compose('env_file: none.env'), '/app/none.env'],
    ['a map for a value', '', compose('environment:\n  A: {b: 1}'), '/app/compose.yaml:4'],
    ['an empty file', '', { '/app/compose.yaml': '' }, 'no services'],
    ['a map that merges itself', '', compose('environment: &a\n  <<: *a'), 'merges itself'],
  ])('refuses %s', (_name, suffix, files, words) => {
    expect(refusal(() => read(`compose:/app/compose.yaml${suffix}`, files)).words).toContain(words)
  })

  it('asks which of several services', () => {
    const files = { '/c.yaml': 'services:\n  bus: {}\n  shield: {}\n' }
    expect(refusal(() => read('compose:/c.yaml', files)).words).toContain('#bus or #shield')
  })
})

const deployment = (env: string, kind = 'Deployment'): string => `apiVersion: apps/v1
kind: ${kind}
metadata: {name: bus}
spec:
  template:
    spec:
      containers:
        - name: bus
${env.replaceAll(/^/gm, '          ')}
`
const objects = `---
kind: ConfigMap
metadata: {name: conf}
data:
  A: conf
  PORT: "1"
---
kind: Secret
metadata: {name: keys}
data:
  JWT: ${Buffer.from(`${secret}\n`).toString('base64')}
  B: ${Buffer.from('old').toString('base64')}
stringData:
  B: new
`

describe('k8s:', () => {
  const from = (env: string, rest = objects): StartEnvironment =>
    read('k8s:/m.yaml', { '/m.yaml': deployment(env) + rest })

  it.each([
    ['values', 'env:\n  - {name: A, value: "1"}\n  - {name: B}', { A: '1', B: '' }],
    ['the later of two', 'env:\n  - {name: A, value: "1"}\n  - {name: A, value: "2"}', { A: '2' }],
    [
      'references to earlier ones',
      'env:\n  - {name: A, value: a}\n  - {name: B, value: "$(A)-$(C)-$$(A)"}\n  - {name: C, value: c}',
      { A: 'a', B: 'a-$(C)-$(A)', C: 'c' },
    ],
    [
      'keys of both kinds',
      'env:\n  - name: A\n    valueFrom: {configMapKeyRef: {name: conf, key: A}}\n  - name: S\n    valueFrom: {secretKeyRef: {name: keys, key: JWT}}',
      { A: 'conf', S: `${secret}\n` },
    ],
    [
      'a key that may be absent',
      'env:\n  - name: A\n    valueFrom: {configMapKeyRef: {name: conf, key: none, optional: true}}',
      {},
    ],
    [
      'whole objects, with a prefix, under the own variables',
      'envFrom:\n  - configMapRef: {name: conf}\n  - secretRef: {name: keys}\n    prefix: X_\nenv:\n  - {name: A, value: own}',
      { A: 'own', PORT: '1', X_JWT: `${secret}\n`, X_B: 'new' },
    ],
  ])('reads %s', (_name, env, expected) => {
    expect(valuesOf(from(env))).toEqual(expected)
  })

  it('says where each stands and what it hides', () => {
    const { variables } = from('envFrom:\n  - configMapRef: {name: conf}\nenv:\n  - name: A\n    value: own')
    expect(variables.get('A')).toMatchObject({ where: '/m.yaml:12', shadows: ['/m.yaml:18'] })
  })

  it.each([
    ['a secret that is elsewhere', 'env:\n  - name: A\n    valueFrom: {secretKeyRef: {name: other, key: k}}', 'other'],
    [
      'one that may be absent and is elsewhere',
      'env:\n  - name: A\n    valueFrom: {secretKeyRef: {name: other, key: k, optional: true}}',
      'other',
    ],
    ['a key that is not there', 'env:\n  - name: A\n    valueFrom: {configMapKeyRef: {name: conf, key: none}}', 'none'],
    ['whole objects that are elsewhere', 'envFrom:\n  - configMapRef: {name: other}', 'other'],
    [
      'what only the cluster knows',
      'env:\n  - name: A\n    valueFrom: {fieldRef: {fieldPath: status.podIP}}',
      'fieldRef',
    ],
    ['a number without quotes', 'env:\n  - {name: A, value: 1}', '/m.yaml:10'],
    ['a variable without a name', 'env:\n  - {value: "1"}', '/m.yaml:10'],
  ])('refuses %s, by name', (_name, env, words) => {
    expect(refusal(() => from(env)).words).toContain(words)
  })

  it('refuses a secret that is not base64, and one that is not text', () => {
    const env = 'envFrom:\n  - secretRef: {name: s}'
    const made = (data: string): string => `---\nkind: Secret\nmetadata: {name: s}\ndata: {K: ${data}}\n`
    expect(refusal(() => from(env, made('"%%%"'))).words).toContain('not base64')
    expect(refusal(() => from(env, made(Buffer.from([0xff, 0xfe]).toString('base64')))).words).toContain('not text')
    expect(valuesOf(from(env, made(Buffer.from('ab').toString('base64').replaceAll('=', ''))))).toEqual({ K: 'ab' })
  })

  it('finds containers of every kind, and asks which of several', () => {
    const pod = 'kind: Pod\nspec:\n  containers:\n    - {name: one, env: [{name: A, value: "1"}]}\n    - {name: two}\n'
    expect(valuesOf(read('k8s:/p.yaml#one', { '/p.yaml': pod }))).toEqual({ A: '1' })
    expect(refusal(() => read('k8s:/p.yaml', { '/p.yaml': pod })).words).toContain('one, two')
    expect(refusal(() => read('k8s:/p.yaml#three', { '/p.yaml': pod })).words).toContain('three')
    expect(refusal(() => read('k8s:/p.yaml', { '/p.yaml': objects })).words).toContain('no containers')
    const list = `kind: List\nitems:\n  - ${pod.replaceAll('\n', '\n    ')}`
    expect(valuesOf(read('k8s:/p.yaml#one', { '/p.yaml': list }))).toEqual({ A: '1' })
    const stateful = deployment('env: [{name: A, value: "2"}]', 'StatefulSet')
    expect(valuesOf(read('k8s:/p.yaml', { '/p.yaml': stateful }))).toEqual({ A: '2' })
  })

  it('takes the object of the same namespace', () => {
    const named = deployment('envFrom:\n  - configMapRef: {name: c}').replace(
      '{name: bus}',
      '{name: bus, namespace: live}',
    )
    const map = (space: string): string =>
      `---\nkind: ConfigMap\nmetadata: {name: c, namespace: ${space}}\ndata: {A: ${space}}\n`
    expect(valuesOf(read('k8s:/m', { '/m': named + map('test') + map('live') }))).toEqual({ A: 'live' })
  })
})

describe('pid:', () => {
  it('reads what a process was started with', () => {
    const files = { '/proc/7/environ': 'A=1\0B=a=b\0\0=x\0A=2\0', '/proc/7/cmdline': 'node\0--inspect\0\0' }
    const source = read('pid:7', files)
    expect(valuesOf(source)).toEqual({ A: '1', B: 'a=b' })
    expect(source.argv).toEqual(['node', '--inspect', ''])
    expect(source.variables.get('A')?.where).toBe('pid:7')
  })

  it.each(['0', '-1', '07', 'self', '1/../2'])('refuses %j', (id) => {
    expect(refusal(() => read(`pid:${id}`, {})).reason).toBe('BAD_ENV_SOURCE')
  })

  it('refuses one that is not there, and one without an environment', () => {
    expect(refusal(() => read('pid:7', {})).reason).toBe('ENV_SOURCE_UNREADABLE')
    const ended = { '/proc/7/environ': '', '/proc/7/cmdline': '' }
    expect(refusal(() => read('pid:7', ended)).words).toContain('ended')
  })
})

describe('options of Node in the command', () => {
  it.each([
    ['none', ['/usr/bin/node', '/app/bin/arqonbus.mjs', 'up', '--inspect'], []],
    ['a debugger', ['/usr/bin/node', '--inspect=0.0.0.0:9229', '/app/bin/arqonbus.mjs', 'bus'], ['--inspect']],
    [
      'values in words of their own',
      ['node', '-r', '/tmp/x.js', '--import', 'y', '--enable_source_maps', 'bin/arqonbus.mjs', '-e'],
      ['-r', '--import', '--enable-source-maps'],
    ],
    ['those of another program', ['node', '--inspect', 'other.js', '--require'], ['--inspect']],
    ['no program at all', ['node', '--eval', 'x()'], ['--eval']],
    [
      'below env and a shell',
      ['/bin/sh', '-ec', `exec env A=${secret} node --inspect-brk arqonbus.mjs`],
      ['--inspect-brk'],
    ],
    ['what Node does not list', ['node', `--${secret}`, '--', 'arqonbus.mjs'], [unlisted]],
    ['the launcher, which gives none', ['/usr/bin/arqonbus', 'up', '--inspect'], []],
  ] as const)('%s', (_name, argv, flags) => {
    expect(nodeFlagsOf(argv)).toEqual(flags)
  })

  it('come from units, compose files, manifests and processes; values and files have none', () => {
    const flagsOf = (spec: string, texts: Readonly<Record<string, string>>): readonly string[] | undefined => {
      const { envSource } = startInputs(spec, { env: { FLAG: '--inspect' }, files: filesOf(texts) })
      expect(JSON.stringify(envSource)).not.toContain(secret)
      return envSource.nodeFlags
    }
    const unit = `[Service]\nExecStart=/usr/bin/node --require /x/${secret}.js /app/bin/arqonbus.mjs up\n`
    expect(flagsOf('systemd:a', { '/etc/systemd/system/a.service': unit })).toEqual(['--require'])
    const service = (lines: string): string => `services:\n  bus:\n    image: x\n${lines}`
    const inList = service(`    entrypoint: [node, "\${FLAG}=${secret}"]\n    command: [/app/bin/arqonbus.mjs, bus]\n`)
    expect(flagsOf('compose:/c.yml', { '/c.yml': inList })).toEqual(['--inspect'])
    const inText = service(`    command: sh -c "node --import ${secret} arqonbus.mjs"\n`)
    expect(flagsOf('compose:/c.yml', { '/c.yml': inText })).toEqual(['--import'])
    expect(flagsOf('compose:/c.yml', { '/c.yml': service('') })).toEqual([])
    const pod = `kind: Pod\nspec:\n  containers:\n  - name: bus\n    env: [{name: F, value: --inspect}]\n`
    const args = `    command: [node]\n    args: ["$(F)", "--loader=${secret}", arqonbus.mjs]\n`
    expect(flagsOf('k8s:/k.yml', { '/k.yml': pod + args })).toEqual(['--inspect', '--loader'])
    const proc = { '/proc/7/environ': 'A=1\0', '/proc/7/cmdline': `node\0--inspect\0arqonbus.mjs\0--token=${secret}\0` }
    expect(flagsOf('pid:7', proc)).toEqual(['--inspect'])
    expect(flagsOf('file:/e', { '/e': 'A=1\n' })).toBeUndefined()
  })
})
