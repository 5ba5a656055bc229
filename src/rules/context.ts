// The facts rules judge, gathered once. The only file of this part that looks at the machine.
import { accessSync, constants, statSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import type { Program } from '../config/keys.ts'
import type { Environment, Resolution } from '../config/resolution.ts'
import { type ResolveOptions, resolveKeys } from '../config/resolve.ts'
import type { Profile } from '../config/shapes.ts'
import { fromDisk } from '../waivers/read-bytes.ts'
import type { FileFacts, RuleContext } from './rule.ts'

export const machineFiles: FileFacts = {
  mode: (path) => statSync(path, { throwIfNoEntry: false })?.mode,
  isReadable(path) {
    try {
      accessSync(path, constants.R_OK)
      return true
    } catch {
      return false
    }
  },
  read: fromDisk,
}

export function machineAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address))
}

export interface ContextOptions extends ResolveOptions {
  /** Default: both. */
  readonly programs?: readonly Program[]
  readonly asked?: Profile
  readonly files?: FileFacts
  readonly localAddresses?: readonly string[]
}

export function createRuleContext(env: Environment, options: ContextOptions = {}): RuleContext {
  return contextOf(resolveKeys(env, options), options)
}

export function contextOf(
  resolution: Resolution,
  options: Omit<ContextOptions, keyof ResolveOptions> = {},
): RuleContext {
  return {
    resolution,
    programs: options.programs ?? ['bus', 'shield'],
    profile: options.asked ?? resolution.profile,
    ...(options.asked !== undefined && { asked: options.asked }),
    files: options.files ?? machineFiles,
    localAddresses: options.localAddresses ?? machineAddresses(),
  }
}
