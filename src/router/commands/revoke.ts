// auth.revoke: tokens of a subject, or of everybody in a tenant, stop counting, at every bus and for live sessions too.
import { everyTenant } from '../../auth/tenants.ts'
import { toIsoTime } from '../../base/clock.ts'
import { invalid } from '../../base/errors.ts'
import { isTenant } from '../../envelope/names.ts'
import { optionalFlag, optionalText } from '../args.ts'
import type { Command } from '../command.ts'

/** As long as a token made just now can last, clocks that differ included. */
const longestMs = (24 * 3_600 + 60) * 1_000
const maxSubjectLength = 256

export const revoke: Command = {
  summary: 'End the sessions of a subject or a whole tenant, and refuse their tokens, for as long as a token can last',
  args: {
    subject: 'whose',
    everyone: '`true` instead of a subject: everybody of the tenant',
    tenant_id: 'the tenant, for operators, who must name it',
  },
  permission: 'admin',
  async run({ args, client, request, tenant }, { clock, hot }) {
    const named = args['tenant_id'] ?? request.metadata['tenant_id']
    if (client.identity.role === 'operator' && typeof named !== 'string') {
      throw invalid('MISSING_ARGUMENT', 'an operator names the tenant: tenant_id is missing', { field: 'tenant_id' })
    }
    if (!isTenant(tenant) && tenant !== everyTenant) {
      throw invalid('BAD_NAME', 'tenant_id is not a tenant', { field: 'tenant_id' })
    }
    const subject = optionalText(args, 'subject')
    if (subject !== undefined && (subject.length > maxSubjectLength || !subject.isWellFormed())) {
      throw invalid('BAD_NAME', 'subject is not one of a token', { field: 'subject' })
    }
    // A forgotten subject must not end a tenant.
    if (optionalFlag(args, 'everyone', false) === (subject !== undefined)) {
      throw invalid('MISSING_ARGUMENT', 'name a subject, or everyone: true for the whole tenant', { field: 'subject' })
    }
    const untilMs = clock.now() + longestMs
    await hot.revocations.add({ tenant, untilMs, ...(subject !== undefined && { subject }) })
    return {
      message: 'Revoked',
      data: { tenant_id: tenant, subject: subject ?? null, until: toIsoTime(untilMs) },
    }
  },
}
