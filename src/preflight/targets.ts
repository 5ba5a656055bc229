// Addresses of a started system: `bus=ws://…,http=http://…,telemetry=ws://…,shield=ws://…`.
import { BusError } from '../base/errors.ts'

export const targetNames = ['bus', 'http', 'telemetry', 'shield'] as const
export type TargetName = (typeof targetNames)[number]
export type Targets = Readonly<Partial<Record<TargetName, URL>>>

const schemes: Readonly<Record<TargetName, readonly string[]>> = {
  bus: ['ws:', 'wss:'],
  http: ['http:', 'https:'],
  telemetry: ['ws:', 'wss:'],
  shield: ['ws:', 'wss:'],
}

/** Throws USAGE naming the part that is wrong; a name given twice is wrong too. */
export function parseTargets(text: string): Targets {
  const targets: Partial<Record<TargetName, URL>> = {}
  for (const part of text.split(',')) {
    const equals = part.indexOf('=')
    const name = targetNames.find((known) => known === part.slice(0, Math.max(0, equals)))
    const address = part.slice(equals + 1)
    if (name === undefined) throw usage(`a target is one of ${targetNames.join(', ')}, as name=address`)
    if (targets[name] !== undefined) throw usage(`the target ${name} is given twice`)
    if (!URL.canParse(address)) throw usage(`the target ${name} is not an address`)
    const url = new URL(address)
    if (!schemes[name].includes(url.protocol)) throw usage(`the target ${name} needs ${schemes[name].join(' or ')}//`)
    if (url.username !== '' || url.password !== '') throw usage(`the target ${name} may hold no user or password`)
    targets[name] = url
  }
  return targets
}

/** Targets as plain texts, and back: for a process that looks. */
export function targetTexts(targets: Targets): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(targets).map(([name, url]) => [name, url.href]))
}

export function targetsOf(texts: Readonly<Record<string, string>>): Targets {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, new URL(text)]))
}

function usage(message: string): BusError {
  return new BusError('USAGE', message, { reason: 'BAD_TARGET' })
}
