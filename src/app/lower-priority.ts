// Lets a child of a server run beside it without taking its time.
import type { ChildProcess } from 'node:child_process'
import { constants, setPriority } from 'node:os'

/** Not the lowest: a run that hardly gets to run would take its own slowness for that of the services. */
export function lowerPriority({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // Where that is not allowed it runs beside us all the same.
  }
}
