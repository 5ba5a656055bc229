// Refusals that say which message they are about, so that the answer can name the frame. Portable.
import { BusError } from '../base/errors.ts'
import { isMessageId } from '../base/ids.ts'

/** Runs `read`; a refusal gets `details.message_id`. */
export function aboutMessage<Result>(id: string, read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw withMessageId(error, id)
  }
}

/** The same error with `details.message_id`; anything but a BusError, and an id that is none, is left alone. */
export function withMessageId(error: unknown, id: string): unknown {
  if (!(error instanceof BusError) || !isMessageId(id)) return error
  return new BusError(error.code, error.message, { ...error.details, message_id: id }, error.cause)
}
