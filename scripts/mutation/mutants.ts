// Mutants of the code that judges: one small change each, at places on which a verdict can depend. Texts for people, the
// heads of checks and tables of data are left alone; every other operator, condition, literal and return is changed.
import { stripTypeScriptTypes } from 'node:module'
import { type AnyNode, type Expression, parse } from 'acorn'
import { ancestor } from 'acorn-walk'

export interface Mutant {
  /** From the root of the repository. */
  readonly file: string
  readonly line: number
  /** `=== to !==`, `false for the condition`. */
  readonly what: string
  readonly start: number
  readonly end: number
  readonly text: string
}

/** JavaScript with every character where the TypeScript has it. */
export const strip = (source: string): string => stripTypeScriptTypes(source, { mode: 'strip' })

export const applied = (source: string, { start, end, text }: Mutant): string =>
  source.slice(0, start) + text + source.slice(end)

/** Properties whose values are words for people. */
const wordKeys = new Set([
  'title',
  'proves',
  'evidence',
  'fix',
  'found',
  'observed',
  'because',
  'what',
  'message',
  'shown',
])
/** Whose start a rule refuses: the tests of the gate hold it. */
const gateKey = 'programs'
/** Parts of heads, wherever they are written down: no judge reads them, and the generated docs pin them. */
const headKeys = new Set(
  'runbook phase severity requires deadlineMs effects resource isDeep retryOn hints shape worlds probe'.split(' '),
)
/** Of an object that is a whole head, these are code. */
const judgedKeys = new Set(['judge', 'appliesWhen'])
/** Of calls: from which argument on there are only words, or facts that are shown and decide nothing. */
const wordArguments = new Map([
  ['pass', 0],
  ['passed', 0],
  ['fail', 2],
  ['failed', 2],
  ['failIfAny', 1],
  ['judgeAll', 1],
  ['no', 1],
  ['silence', 1],
])
/** `judgeExplicit(ctx, name, fix, accept)`: one argument of words amid others. */
const wordArgument = new Map([
  ['judgeExplicit', 2],
  ['explicitFault', 2],
])
const wordVariable = /^(?:fix|found|observed|where|because|help|newSecret|words?|shown)$|(?:Fix|Words)$/
/** Functions that only make words. */
const wordFunction = /^(?:describe|show|inWords)/
/** An array of more texts than this is a table of data; the tests of its readers hold it. */
const maxTable = 20

type At<T extends AnyNode['type']> = Extract<AnyNode, { type: T }>

export function mutantsOf(file: string, source: string): Mutant[] {
  const code = strip(source)
  const tree = parse(code, { ecmaVersion: 'latest', sourceType: 'module' })
  const found: Mutant[] = []
  const textOf = (node: { start: number; end: number }): string => code.slice(node.start, node.end)
  const lineOf = (offset: number): number => code.slice(0, offset).split('\n').length

  function put(node: { start: number; end: number }, text: string, what: string): void {
    found.push({ file, line: lineOf(node.start), what, start: node.start, end: node.end, text })
  }
  /** The operator between two operands. */
  function putOperator(left: AnyNode, right: AnyNode, from: string, to: string): void {
    const start = code.indexOf(from, left.end)
    if (start < right.start) put({ start, end: start + from.length }, to, `${from} to ${to}`)
  }
  function putCondition(test: AnyNode): void {
    for (const value of ['true', 'false']) {
      if (textOf(test) !== value) put(test, value, `${value} for the condition ${brief(textOf(test))}`)
    }
  }
  function putReturn(node: Expression): void {
    if (isFailure(node)) put(node, "({ status: 'pass' })", `a pass for ${brief(textOf(node))}`)
    else if (!isWords(node) && node.type !== 'ArrayExpression' && !isAlready(textOf(node)))
      put(node, 'undefined', `nothing for the result ${brief(textOf(node))}`)
  }

  const visitors: { [T in AnyNode['type']]?: (node: At<T>, ancestors: readonly AnyNode[]) => void } = {
    BinaryExpression(node) {
      for (const to of comparisons[node.operator] ?? [])
        putOperator(node.left as AnyNode, node.right, node.operator, to)
    },
    LogicalExpression(node) {
      if (node.operator === '??') put(node, `(${textOf(node.left)})`, `no ?? ${brief(textOf(node.right))}`)
      else putOperator(node.left, node.right, node.operator, node.operator === '&&' ? '||' : '&&')
    },
    UnaryExpression(node) {
      if (node.operator === '!') put(node, `(${textOf(node.argument)})`, `no ! before ${brief(textOf(node.argument))}`)
    },
    ConditionalExpression: ({ test }) => putCondition(test),
    IfStatement: ({ test }) => putCondition(test),
    Literal(node, ancestors) {
      const parent = ancestors.at(-2)
      if (parent?.type === 'ImportDeclaration' || isPropertyKey(node, parent)) return
      if (typeof node.value === 'boolean') put(node, String(!node.value), `${node.value} to ${!node.value}`)
      if (typeof node.value === 'number') {
        for (const to of [node.value + 1, node.value - 1]) put(node, `(${to})`, `${node.value} to ${to}`)
      }
      // Words with a blank in them are for people.
      if (typeof node.value === 'string' && !/\s/.test(node.value))
        put(node, "'mutant'", `another text for ${node.raw}`)
    },
    ReturnStatement: ({ argument }) => void (argument != null && putReturn(argument)),
    ArrowFunctionExpression: ({ body }) => void (body.type !== 'BlockStatement' && putReturn(body)),
    ArrayExpression(node) {
      if (node.elements.length > 0) put(node, '[]', `no items for ${brief(textOf(node))}`)
    },
    CallExpression(node) {
      const { callee } = node
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return
      const { name } = callee.property
      if (name === 'filter') put(node, textOf(callee.object), `no filter ${brief(textOf(node.arguments[0]!))}`)
      if (name === 'some') put(callee.property, 'every', 'some to every')
      if (name === 'every') put(callee.property, 'some', 'every to some')
    },
  }
  const looking = probeCode(tree)
  const guarded = Object.fromEntries(
    Object.entries(visitors).map(([type, visit]) => [
      type,
      (node: AnyNode, _state: unknown, ancestors: AnyNode[]) => {
        if (!looking.has(ancestors[1]!) && !isForPeople(ancestors))
          (visit as (node: AnyNode, ancestors: readonly AnyNode[]) => void)(node, ancestors)
      },
    ]),
  )
  ancestor(tree, guarded)
  return found.sort((a, b) => a.start - b.start || a.end - b.end || (a.text < b.text ? -1 : 1))
}

/** Statements of the file that only probes come to: where a file holds both, these are none of the judge's. */
function probeCode(tree: At<'Program'>): ReadonlySet<AnyNode> {
  const owners = new Map(tree.body.flatMap((node) => namesOf(node).map((name) => [name, node] as const)))
  const reached = new Set<AnyNode>()
  const reach = (node: AnyNode): void => {
    if (reached.has(node)) return
    reached.add(node)
    ancestor(node, {
      Identifier({ name }, _state, path) {
        const owner = owners.get(name)
        if (owner !== undefined && !isInProbe(path)) reach(owner)
      },
    })
  }
  for (const node of tree.body) if (node.type.startsWith('Export') || namesOf(node).length === 0) reach(node)
  return new Set(tree.body.filter((node) => !reached.has(node)))
}

function namesOf(node: AnyNode): string[] {
  if (node.type === 'FunctionDeclaration' || node.type === 'ClassDeclaration')
    return node.id === null ? [] : [node.id.name]
  if (node.type !== 'VariableDeclaration') return []
  return node.declarations.flatMap(({ id }) => (id.type === 'Identifier' ? [id.name] : []))
}

const isInProbe = (path: readonly AnyNode[]): boolean =>
  path.some((node, index) => node.type === 'Property' && keyOf(node) === 'probe' && path[index + 1] === node.value)

const comparisons: Readonly<Record<string, readonly string[]>> = {
  '<': ['<=', '>='],
  '<=': ['<', '>'],
  '>': ['>=', '<='],
  '>=': ['>', '<'],
  '===': ['!=='],
  '!==': ['==='],
}

const isAlready = (text: string): boolean => text === 'undefined' || text === 'true' || text === 'false'

/** A text put together, or what makes one; and a list of no findings, which is a pass already. */
function isWords(node: AnyNode): boolean {
  if (node.type === 'TemplateLiteral') return true
  if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier') return false
  return wordFunction.test(node.callee.name) || isEmptyJudgement(node)
}

const isEmptyJudgement = ({ arguments: [first] }: At<'CallExpression'>): boolean =>
  first?.type === 'ArrayExpression' && first.elements.length === 0

function isFailure(node: AnyNode): boolean {
  if (node.type === 'ObjectExpression') {
    return node.properties.some(
      (property) =>
        property.type === 'Property' &&
        keyOf(property) === 'status' &&
        property.value.type === 'Literal' &&
        property.value.value !== 'pass',
    )
  }
  if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier' || isEmptyJudgement(node)) return false
  return ['fail', 'failed', 'failIfAny', 'judgeAll', 'judgeExplicit', 'judgeStop'].includes(node.callee.name)
}

const isPropertyKey = (node: AnyNode, parent: AnyNode | undefined): boolean =>
  parent?.type === 'Property' && parent.key === node && parent.value !== node

function keyOf({ key }: At<'Property'>): string | undefined {
  if (key.type === 'Identifier') return key.name
  return key.type === 'Literal' && typeof key.value === 'string' ? key.value : undefined
}

const isHead = ({ properties }: At<'ObjectExpression'>): boolean =>
  properties.some((property) => property.type === 'Property' && keyOf(property) === 'proves')

/** Does the last of these stand where only words, heads or tables are? */
function isForPeople(path: readonly AnyNode[]): boolean {
  return path.some((node, index) => {
    const next = path[index + 1]
    const parent = path[index - 1]
    if (next === undefined) return node.type === 'TemplateElement'
    if (node.type === 'TemplateLiteral' || node.type === 'ThrowStatement') return true
    if (node.type === 'Property') return next === node.value && isWordProperty(node, parent)
    if (node.type === 'CallExpression' || node.type === 'NewExpression') return isWordArgument(node, next)
    if (node.type === 'VariableDeclarator') {
      return node.id.type === 'Identifier' && isForPeopleByName(node.id.name)
    }
    if (node.type === 'FunctionDeclaration') return node.id !== null && wordFunction.test(node.id.name)
    return node.type === 'ArrayExpression' && node.elements.length > maxTable
  })
}

const isForPeopleByName = (name: string): boolean =>
  wordVariable.test(name) || wordFunction.test(name) || headKeys.has(name)

function isWordProperty(node: At<'Property'>, parent: AnyNode | undefined): boolean {
  const key = keyOf(node) ?? ''
  if (wordKeys.has(key) || headKeys.has(key) || key === gateKey) return true
  if (parent?.type !== 'ObjectExpression') return false
  if (isHead(parent)) return !judgedKeys.has(key)
  const hasTest = parent.properties.some((other) => other.type === 'Property' && keyOf(other) === 'test')
  return key === 'name' && hasTest
}

function isWordArgument(node: At<'CallExpression'> | At<'NewExpression'>, next: AnyNode): boolean {
  if (node.callee.type !== 'Identifier') return false
  const index = node.arguments.indexOf(next as Expression)
  if (index === -1) return false
  const { name } = node.callee
  if (wordFunction.test(name)) return true
  return index >= (wordArguments.get(name) ?? Number.POSITIVE_INFINITY) || index === wordArgument.get(name)
}

function brief(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length > 50 ? `${line.slice(0, 49)}…` : line
}
