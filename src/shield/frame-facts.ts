// Where a frame goes, as subjects that rules of schemas and of mirroring are matched against.
import { inSubject, outRoomSubject } from '../envelope/subjects.ts'
import { nameProblem } from '../envelope/names.ts'
import type { FrameFacts } from './validate.ts'

/**
 * The tokens of the subject a client's frame travels on, and of the one its message goes to where it names room and
 * channel.
 */
export function subjectsOf(tenant: string, { room, channel, toClient }: FrameFacts): readonly (readonly string[])[] {
  const travelling = inSubject(tenant).split('.')
  if (toClient !== undefined || !isPlace(room) || !isPlace(channel)) return [travelling]
  return [travelling, outRoomSubject(tenant, room, channel).split('.')]
}

const isPlace = (name: string | undefined): name is string => name !== undefined && nameProblem(name) === undefined
