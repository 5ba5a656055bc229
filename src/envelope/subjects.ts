// The subjects by which processes talk about a tenant's traffic (design 7). Names are escaped, one token each.
import { escapeToken } from './names.ts'

/** Client frames on their way to the tenant's bus, byte for byte. */
export function inSubject(tenant: string): string {
  return `in.t.${escapeToken(tenant)}.raw`
}

/** Copies of client frames for shadow consumers. */
export function shadowSubject(tenant: string): string {
  return `shadow.${inSubject(tenant)}`
}

/** Messages of one channel for the gateways with members there; `*` (unescaped) listens to the whole room. */
export function outRoomSubject(tenant: string, room: string, channel: string): string {
  return `out.t.${escapeToken(tenant)}.r.${escapeToken(room)}.${channel === '*' ? '*' : escapeToken(channel)}`
}

/** Replies and direct messages for one session; `process` and `session` are the halves of the client id. */
export function outSessionSubject(tenant: string, process: string, session: string): string {
  return `out.t.${escapeToken(tenant)}.s.${process}.${session}`
}

/** What one gateway process listens to for all its sessions. */
export function outProcessPattern(process: string): string {
  return `out.t.*.s.${process}.*`
}
