// Judges of the clean tree: what was installed, what the compiler said, what imports did.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, failed, type JudgePorts, judgeAll } from '../check.ts'
import { listIn, numberIn, textIn } from '../json-fields.ts'
import { listed, word } from '../runtime/host.ts'
import { judgeAttested } from './attestation-judges.ts'
import type { InstallFacts, TypecheckFacts } from './clean-tree-probes.ts'
import type { ImportFacts } from './import-probes.ts'

export function judgeInstall(facts: InstallFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const attested = judgeAttested(facts, now)
  if (attested !== undefined) return attested
  const { by, hasLock, exit, code, trouble, missing, extraneous, differ, count, tree } = facts
  const variable = 'package-lock.json'
  if (!hasLock) {
    const fix = 'run the gates in a checkout, or bring their result: --attestation'
    return failed('LOCK_ABSENT', variable, 'there is no lockfile to install from', fix)
  }
  const again = 'npm ci --omit=dev --ignore-scripts in an empty folder shows the same; make package and lockfile agree'
  if (exit !== 0) return failed('INSTALL_FAILED', variable, [code, trouble ?? `exit ${exit}`].join(' ').trim(), again)
  const findings: Finding[] = []
  const add = (kind: string, found: readonly string[]): void => {
    if (found.length > 0) findings.push({ code: kind, variable, found: listed(found), fix: again })
  }
  add('PACKAGE_MISSING', missing)
  add('PACKAGE_EXTRANEOUS', extraneous)
  add('PACKAGE_DIFFERS', differ)
  return judgeAll(findings, `${count} packages, ${tree}`, { by })
}

export function judgeTypecheck(facts: TypecheckFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const attested = judgeAttested(facts, now)
  if (attested !== undefined) return attested
  const { by, version, pinned, exit, errors, first } = facts
  const install = 'npm ci'
  if (version === '') return failed('NO_COMPILER', 'typescript', 'not installed', install)
  if (version !== pinned) {
    return failed('OTHER_COMPILER', 'typescript', `${version}, pinned ${pinned || 'nothing'}`, install)
  }
  const fix = 'npx tsc -p tsconfig.json --noEmit shows them all'
  if (errors > 0) return failed('TYPE_ERRORS', 'tsconfig.json', `${errors}; first ${first}`, fix)
  if (exit !== 0) return failed('COMPILER_FAILED', 'tsconfig.json', `exit ${exit ?? 'by a signal'}`, fix)
  return judgeAll([], `typescript ${version}`, { by })
}

const isNotFound = (code: string): boolean => /^(?:ERR_)?MODULE_NOT_FOUND$|^ERR_PACKAGE_PATH_NOT_EXPORTED$/.test(code)

export function judgeImports(facts: ImportFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const attested = judgeAttested(facts, now)
  if (attested !== undefined) return attested
  const { by, imports, undeclared, shadowed } = facts
  if (imports.length === 0) {
    return failed('NOTHING_IMPORTED', 'package.json', 'no dependencies and no exports', 'correct package.json')
  }
  const findings: Finding[] = []
  const add = (code: string, variable: string, found: string, fix: string): void => {
    findings.push({ code, variable, found, fix })
  }
  for (const one of undeclared) {
    const where = one['isDev'] === true ? 'only in devDependencies' : 'nowhere declared'
    const found = `imported by ${textIn(one, 'file')}, ${where}`
    add(
      'UNDECLARED_IMPORT',
      textIn(one, 'name'),
      found,
      'add it to the dependencies of package.json, or import it no more',
    )
  }
  for (const one of shadowed) {
    add('SHADOWED', textIn(one, 'name'), `${textIn(one, 'place')} is found first`, 'take the copy in our own code away')
  }
  for (const one of imports) judgeImport(one, add)
  const slowest = imports.map((one) => `${textIn(one, 'name')} ${numberIn(one, 'ms')} ms`)
  return judgeAll(findings, slowest.join(', '), { by })
}

function judgeImport(one: JsonObject, add: (code: string, variable: string, found: string, fix: string) => void): void {
  const name = textIn(one, 'name')
  const code = textIn(one, 'code')
  if (one['isLate'] === true) {
    add('IMPORT_LATE', name, 'not imported within 10 s', 'see what it waits for when it is imported')
    return
  }
  if (code !== '') {
    const fix = isNotFound(code)
      ? 'is it in the dependencies of package.json, and in the lockfile?'
      : 'import it by hand in an empty environment'
    add(isNotFound(code) ? 'NOT_FOUND' : 'IMPORT_FAILED', name, `${code} ${textIn(one, 'message')}`.trim(), fix)
    return
  }
  if (one['isAtHome'] !== true) {
    add('SHADOWED', name, `comes from ${textIn(one, 'resolved')}`, 'take away what stands in for the package')
  }
  const noImport = 'no import may do that: take another version, or another package'
  if (one['isListening'] === true) add('LISTENS', name, 'it opened a listening socket', noImport)
  const handles = listIn(one, 'handles')
  if (handles.length > 0)
    add('HANDLE_OPEN', name, `it keeps the process alive: ${handles.map(word).join(', ')}`, noImport)
  const changed = listIn(one, 'changed').map(word)
  if (changed.length > 0) add('ENVIRONMENT_CHANGED', name, listed(changed), noImport)
  if (numberIn(one, 'written') > 0) {
    add('WRITES_STDOUT', name, `${numberIn(one, 'written')} bytes on standard output`, noImport)
  }
}
