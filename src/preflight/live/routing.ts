// What Shield lets in arrives where it should, once, and nowhere else. Silence is proved by order: a message of its own
// that reaches an observer later than the probe proves that the probe did not come before it.
import { defaultTenant } from '../../auth/tenants.ts'
import type { CheckPorts } from '../check.ts'
import { otherProbeTenant, probeTenant } from './probe-tokens.ts'
import { newPlace, seenUntil, withSessions } from './sessions.ts'

export function followPayload(ports: CheckPorts, signal: AbortSignal) {
  return withSessions(ports, signal, async (open) => {
    // Where the bus asks for no token, all its clients are in the default tenant: the probe goes there too, and the
    // stranger watches at Shield, which tells tenants apart.
    const { enableAuth } = ports.ctx.resolution.values
    const tenant = enableAuth ? probeTenant : defaultTenant
    const otherAt = enableAuth ? 'bus' : 'shield'
    const place = newPlace(ports)
    const observer = await open.bus(tenant)
    const stranger = await open[otherAt](otherProbeTenant)
    await observer.join(place.room, place.channel)
    await stranger.join(place.room, place.channel)

    const sender = await open.shield(tenant)
    const probe = { kind: 'probe', nonce: ports.nonce() }
    const fence = { kind: 'fence', nonce: ports.nonce() }
    await sender.publish(place.room, place.channel, probe)
    await sender.publish(place.room, place.channel, fence)
    const seen = await seenUntil(observer, place, fence)

    const otherSender = await open.shield(otherProbeTenant)
    const otherFence = { kind: 'fence', nonce: ports.nonce() }
    await otherSender.publish(place.room, place.channel, otherFence)
    const otherSeen = await seenUntil(stranger, place, otherFence)
    return { sent: [probe, fence], seen, at: 'bus', otherSent: [otherFence], otherSeen, otherAt }
  })
}

export function crossTenants(ports: CheckPorts, signal: AbortSignal) {
  return withSessions(ports, signal, async (open) => {
    const place = newPlace(ports)
    const tenants = [probeTenant, otherProbeTenant]
    const observers = await Promise.all(tenants.map((tenant) => open.shield(tenant)))
    for (const observer of observers) await observer.join(place.room, place.channel)
    const senders = await Promise.all(tenants.map((tenant) => open.shield(tenant)))
    const probes = tenants.map((_, index) => ({ kind: 'probe', index, nonce: ports.nonce() }))
    const fences = tenants.map((_, index) => ({ kind: 'fence', index, nonce: ports.nonce() }))
    // Every probe is acknowledged before the first fence is sent: a crossed probe would stand before it.
    for (const [index, sender] of senders.entries()) await sender.publish(place.room, place.channel, probes[index]!)
    for (const [index, sender] of senders.entries()) await sender.publish(place.room, place.channel, fences[index]!)
    return {
      sent: [probes[0]!, fences[0]!],
      seen: await seenUntil(observers[0]!, place, fences[0]!),
      at: 'shield',
      otherSent: [probes[1]!, fences[1]!],
      otherSeen: await seenUntil(observers[1]!, place, fences[1]!),
      otherAt: 'shield',
    }
  })
}
