// A copy of the records for those who read what earlier systems wrote, made behind the appends and never waited for:
// every record once, in order within its stream, later by a moment.
import type { Envelope, Position } from '../envelope/envelope.ts'
import { createFollower, type Follower, type FollowerOptions } from './follower.ts'
import type { MirrorState } from './store.ts'

/** The envelope of a frame; given from outside, since storage knows no wire format. */
export type FrameToEnvelope = (frame: Uint8Array, position: Position) => Envelope

export interface Mirror<T> extends Follower<T> {
  readonly state: MirrorState
}

export interface MirrorOptions<T> extends Pick<FollowerOptions<T>, 'idOf' | 'clock' | 'logger'> {
  /** Copies the next records of a stream, where there are any. */
  readonly copySome: (stream: T) => Promise<{ readonly copied: number; readonly hasMore: boolean }>
  /** All streams with records that are not copied, some at a time: what another process appended, or was left at a stop. */
  readonly behind: () => AsyncIterable<readonly T[]>
}

export function createMirror<T>({ copySome, behind, ...rest }: MirrorOptions<T>): Mirror<T> {
  let total = 0
  const follower = createFollower<T>({
    ...rest,
    name: 'mirror',
    gatherMs: 100,
    sweepEveryMs: 10_000,
    streamsPerStep: 1,
    async step(streams) {
      const unfinished: T[] = []
      for (const stream of streams) {
        const { copied, hasMore } = await copySome(stream)
        total += copied
        if (hasMore) unfinished.push(stream)
      }
      return unfinished
    },
    sweep: behind,
  })
  return {
    noteGrown: (streams) => follower.noteGrown(streams),
    stop: () => follower.stop(),
    get state() {
      return { ...follower.state, copied: total }
    },
  }
}
