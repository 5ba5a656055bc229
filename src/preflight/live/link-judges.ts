// What an observer on NATS heard, against what was sent.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'

/** What passed on NATS; a way that nobody could hear is absent. */
export interface LinkFacts {
  /** In words: which ways could be heard. */
  readonly heard: string
  /** In order: `tenant`, `nonce`, and of a binary frame the digest. */
  readonly linkSent: readonly JsonObject[]
  /** From Shield to the bus. */
  readonly linkIn?: readonly JsonObject[]
  /** From the bus to Shield. */
  readonly linkOut?: readonly JsonObject[]
}

/** The way in tells first: what did not come in cannot go out. */
export function linkFault({ linkSent, linkIn, linkOut }: LinkFacts): Finding | undefined {
  return wayFault('nats-in', linkSent, linkIn) ?? wayFault('nats-out', linkSent, linkOut)
}

const linkFix =
  'listen to in.t.> and out.t.> on the servers of NATS_URL while a client sends, and compare with docs/link.md'

function wayFault(
  variable: string,
  sent: readonly JsonObject[],
  passed: readonly JsonObject[] | undefined,
): Finding | undefined {
  const fault = (code: string, found: string): Finding => ({ code, variable, found, fix: linkFix })
  if (passed === undefined) return undefined
  if (passed.length === 0) return fault('NOT_ON_NATS', 'what Shield acknowledged never passed there')
  const isOthers = passed.some(({ tenant, nonce }) =>
    sent.some((one) => one['nonce'] === nonce && one['tenant'] !== tenant),
  )
  if (isOthers) return fault('OTHER_TENANT', 'it passed on the subject of another tenant')
  if (passed.length !== sent.length) return fault('WRONG_COUNT', `${passed.length} frames instead of ${sent.length}`)
  for (const [index, { nonce, frame }] of passed.entries()) {
    const { nonce: wanted, frame: bytes } = sent[index]!
    if (nonce !== wanted) return fault('OUT_OF_ORDER', 'not in the order in which they were sent')
    if (frame !== undefined && bytes !== undefined && frame !== bytes) {
      return fault('NOT_EQUAL', 'other bytes than those that were sent')
    }
  }
  return undefined
}
