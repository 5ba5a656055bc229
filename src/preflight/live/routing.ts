// What Shield lets in arrives where it should, once, and nowhere else: on NATS, where neither of the two programs has a
// say, at the bus, in
// its history, and back at Shield. Silence is proved by order: a message of its own that reaches an observer later
// than the probe proves that the probe did not come before it.
import { defaultTenant } from '../../auth/tenants.ts'
import type { CheckPorts } from '../check.ts'
import { otherProbeTenant, probeTenant } from './probe-tokens.ts'
import { newPlace, publishMarked, seenUntil, settle, withoutGreeting, withSessions } from './sessions.ts'

export function followPayload(ports: CheckPorts, signal: AbortSignal) {
  return withSessions(ports, signal, async (open) => {
    // Where the bus asks for no token, all its clients are in the default tenant: the probe goes there too, and the
    // stranger watches at Shield, which tells tenants apart.
    const { enableAuth, enablePersistence } = ports.ctx.resolution.values
    const tenant = enableAuth ? probeTenant : defaultTenant
    const otherAt = enableAuth ? 'bus' : 'shield'
    const place = newPlace(ports)
    const link = await open.link(place)
    const member = await open.shield(tenant)
    await member.join(place.room, place.channel)
    await settle(link, member, place)
    const observer = await open.bus(tenant)
    const stranger = await open[otherAt](otherProbeTenant)
    await observer.join(place.room, place.channel)
    await stranger.join(place.room, place.channel)

    const sender = await open.shield(tenant)
    const [probe, fence] = [link.payload('probe'), link.payload('fence')]
    const linkSent = [
      await publishMarked(sender, tenant, place, probe),
      await publishMarked(sender, tenant, place, fence),
    ]
    // Acknowledged: whatever of it crosses to another tenant is there before what that tenant is sent now.
    const otherSender = await open.shield(otherProbeTenant)
    const otherFence = { kind: 'fence', nonce: ports.nonce() }
    await otherSender.publish(place.room, place.channel, otherFence)
    const [passed, seen, back, otherSeen] = await Promise.all([
      link.passedUntil(fence),
      seenUntil(observer, place, fence),
      seenUntil(member, place, fence),
      seenUntil(stranger, place, otherFence),
    ])
    const kept = enablePersistence ? withoutGreeting(await member.kept(place.room, place.channel)) : undefined
    const sent = [probe, fence]
    const atMember = { back, ...(kept !== undefined && { kept }) }
    return { sent, seen, at: 'bus', ...atMember, otherSent: [otherFence], otherSeen, otherAt, linkSent, ...passed }
  })
}

export function crossTenants(ports: CheckPorts, signal: AbortSignal) {
  return withSessions(ports, signal, async (open) => {
    const place = newPlace(ports)
    const tenants = [probeTenant, otherProbeTenant]
    const link = await open.link(place)
    const observers = await Promise.all(tenants.map((tenant) => open.shield(tenant)))
    for (const observer of observers) await observer.join(place.room, place.channel)
    await settle(link, observers[0]!, place)
    const senders = await Promise.all(tenants.map((tenant) => open.shield(tenant)))
    const probes = tenants.map(() => link.payload('probe'))
    const fences = tenants.map(() => link.payload('fence'))
    const publishAll = async (payloads: typeof probes) => {
      const rows = []
      for (const [index, sender] of senders.entries()) {
        rows.push(await publishMarked(sender, tenants[index]!, place, payloads[index]!))
      }
      return rows
    }
    // Every probe is acknowledged before the first fence is sent: a crossed probe would stand before it.
    const linkSent = [...(await publishAll(probes)), ...(await publishAll(fences))]
    const [passed, seen, otherSeen] = await Promise.all([
      link.passedUntil(fences[1]!),
      seenUntil(observers[0]!, place, fences[0]!),
      seenUntil(observers[1]!, place, fences[1]!),
    ])
    return {
      sent: [probes[0]!, fences[0]!],
      seen,
      at: 'shield',
      otherSent: [probes[1]!, fences[1]!],
      otherSeen,
      otherAt: 'shield',
      linkSent,
      ...passed,
    }
  })
}
