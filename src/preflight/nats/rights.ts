// Which rights the user of NATS_URL needs, and which it must not have (design 7, docs/link.md). The user is Shield's:
// a site that gives the bus a user of its own gives it through the bus's own environment.
//
// Another tenant's subject is not among the forbidden: Shield carries the frames of all tenants with one user, and keeps
// them apart itself by the tenant of the token.
import type { RuleContext } from '../../rules/rule.ts'

export interface Right {
  readonly action: 'publish' | 'subscribe'
  /** In canonical results: the action and the family as docs/link.md writes it. */
  readonly name: string
  /** What is asked for: of that family, and nobody's. */
  readonly subject: string
}

const right = (action: Right['action'], family: string, subject: string = family): Right => ({
  action,
  name: `${action} ${family}`,
  subject,
})

/** Nobody owns that tenant, and no process has that id. */
const tenant = 'arqon-preflight'
const process = '00000000'

export function rightsOf(
  { resolution: { values } }: RuleContext,
  runId: string,
): { readonly needed: readonly Right[]; readonly forbidden: readonly Right[]; readonly nobodys: readonly Right[] } {
  const isMirrored = values.mirrorRules.length > 0 && values.mirrorNatsUrl === undefined
  return {
    needed: [
      right('publish', 'in.t.>', `in.t.${tenant}.raw`),
      ...['open', 'close', 'lease', 'read'].map((verb) => right('publish', `ctl.bus.${verb}`)),
      ...(isMirrored ? [right('publish', 'shadow.in.t.>', `shadow.in.t.${tenant}.raw`)] : []),
      right('subscribe', 'out.t.>', `out.t.*.s.${process}.*`),
      // A right of this form for one tenant only would not do for the next one.
      right('subscribe', 'out.t.*.r.>', `out.t.${tenant}.r.preflight.preflight`),
      ...['resync', 'heads', 'removed'].map((name) => right('subscribe', `ctl.edge.${name}`)),
      right('subscribe', 'ctl.edge.close.>', `ctl.edge.close.${process}`),
      right('subscribe', '_INBOX.>', `_INBOX.arqon-preflight.${runId}.*`),
    ],
    forbidden: [
      right('subscribe', '$SYS.>'),
      right('publish', '$JS.API.STREAM.DELETE.>', `$JS.API.STREAM.DELETE.arqon-preflight-${runId}`),
    ],
    // Of no family of ours, and nobody would grant them by name: who has both has no list of rights.
    nobodys: [
      right('publish', "others' subjects", `arqon-preflight-nobodys.${runId}`),
      right('subscribe', "others' subjects", `arqon-preflight-nobodys.${runId}`),
    ],
  }
}
